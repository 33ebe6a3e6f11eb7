"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Losses in your own project
#
# `jaxdl.objectives` holds losses, divergences, bounds and returns as pure functions. They know nothing of
# nets, optimizers or data, so they fit into any JAX project. Here they meet a net and a training loop written
# by hand in plain JAX and optax. Nothing else of jaxdl is used.
#
# There is one rule: **an objective takes the arrays of one example and returns its value.** Batches are yours:
#
# ```python
# jax.vmap(loss)(predictions, targets).mean()
# ```
#
# Each section puts a formula next to the function that computes it. `objectives.elbo??` in a cell shows how.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("jaxdl") is None:  # ".." is the folder of the repository
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)
    importlib.invalidate_caches()

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from sklearn.datasets import load_digits

from jaxdl import objectives

images, labels = load_digits(return_X_y=True)
x, y = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]
print(x_train.shape, x_test.shape)

# %% [markdown]
# ## A project that is not jaxdl
#
# A multilayer perceptron is a list of matrices and biases. The loop draws random examples `i`, differentiates
# whatever loss it is given, and lets Adam move the parameters.


# %%
def init_mlp(key, *sizes):
    """Draw the matrices of a multilayer perceptron."""
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = itertools.pairwise(sizes)
    return [
        (jax.random.normal(key, (m, n)) * (2 / m) ** 0.5, jnp.zeros(n))
        for key, (m, n) in zip(keys, shapes, strict=True)
    ]


def mlp(params, x):
    """Map [..., M] to [..., N]."""
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def train(loss, params, steps, examples=len(x_train), learning_rate=3e-3):
    """Minimise loss(params, i, key) by Adam, on indices i drawn from the first examples."""
    optimizer = optax.adam(learning_rate)
    state = optimizer.init(params)

    @jax.jit
    def update(params, state, key):
        i_key, loss_key = jax.random.split(key)
        i = jax.random.randint(i_key, (128,), 0, examples)
        value, gradient = jax.value_and_grad(loss)(params, i, loss_key)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    if "JAXDL_FAST" in os.environ:  # set by a test that runs this notebook
        steps = 3
    for key in jax.random.split(jax.random.key(0), steps):
        params, state, value = update(params, state, key)
    print(f"loss of the last batch: {value:.3f}")
    return params


@jax.jit
def accuracy(params):
    """Classify the test digits."""
    return jnp.mean(mlp(params, x_test).argmax(axis=-1) == y_test)


# %% [markdown]
# ## A classifier that is not too sure
#
# With logits $l$ and a label $y$, a distribution over the classes, `softmax_cross_entropy` is
#
# $$-\sum_k y_k \log \mathrm{softmax}(l)_k .$$
#
# `smooth_labels` takes a little from the right class and shares it among all $C$, $(1 - \alpha)\,y + \alpha / C$,
# so that no logit has to grow without end.


# %%
def classifier_loss(params, i, key):
    """Compare the classes of a batch with smoothed labels."""
    target = jax.vmap(objectives.smooth_labels)(jax.nn.one_hot(y_train[i], 10))
    return jax.vmap(objectives.softmax_cross_entropy)(mlp(params, x_train[i]), target).mean()


teacher = train(classifier_loss, init_mlp(jax.random.key(1), 64, 256, 10), steps=600)
print(f"teacher: {accuracy(teacher):.1%} of the test digits")

# %% [markdown]
# Forget the `vmap`, and the function says so, before it computes anything.

# %%
try:
    objectives.softmax_cross_entropy(mlp(teacher, x_train[:8]), y_train[:8])
except AssertionError as error:
    print(error)

# %% [markdown]
# ## What a teacher knows beyond the label
#
# Suppose that only 60 digits are labelled. A small student can learn from those. Or it can learn from the
# teacher, who has an opinion on every image: a 3 that is nearly an 8 says something about both. With the
# student's logits $s$, the teacher's $t$ and a temperature $T$ that softens both, `distillation_loss` is
#
# $$T^2\, \mathrm{KL}\big(\mathrm{softmax}(t/T) \,\Vert\, \mathrm{softmax}(s/T)\big) .$$


# %%
def distilled_loss(params, i, key):
    """Compare the student's opinion with the teacher's; no label is read."""
    loss = lambda s, t: objectives.distillation_loss(s, t, temperature=3.0)
    return jax.vmap(loss)(mlp(params, x_train[i]), mlp(teacher, x_train[i])).mean()


student = init_mlp(jax.random.key(2), 64, 16, 10)
labelled = train(classifier_loss, student, steps=600, examples=60)
distilled = train(distilled_loss, student, steps=600)
print(f"student of 60 labels: {accuracy(labelled):.1%}, student of the teacher: {accuracy(distilled):.1%}")

# %% [markdown]
# ## A variational autoencoder
#
# An encoder maps a digit $x$ to a Gaussian $q(z \mid x) = \mathcal{N}(\mu, \sigma^2)$ on the plane, a decoder
# maps a point $z$ to the logits $l$ of 64 pixels. One function draws $z$ so that the gradient passes through
# it, and three make the bound that is maximised:
#
# | function | formula |
# |---|---|
# | `reparameterize` | $z = \mu + \sigma \varepsilon$ with $\varepsilon \sim \mathcal{N}(0, I)$ |
# | `bernoulli_log_prob` | $\sum_d x_d \log p_d + (1 - x_d) \log (1 - p_d)$ with $p = \mathrm{sigmoid}(l)$ |
# | `kl_standard_normal` | $\tfrac12 \sum_j (\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2)$ |
# | `elbo` | $\log p(x \mid z) - \mathrm{KL}(q \,\Vert\, p)$, on average at most $\log p(x)$ |
#
# All four speak of one example, and so does `bound`.


# %%
def bound(params, x, key):
    """Return the evidence lower bound of one digit."""
    mean, log_std = jnp.split(mlp(params["encoder"], x), 2)
    z = objectives.reparameterize(key, mean, log_std)
    log_likelihood = objectives.bernoulli_log_prob(x, mlp(params["decoder"], z))
    return objectives.elbo(log_likelihood, objectives.kl_standard_normal(mean, log_std))


bounds = jax.jit(jax.vmap(bound, in_axes=(None, 0, 0)))


def vae_loss(params, i, key):
    """Negate the mean bound of a batch."""
    return -bounds(params, x_train[i], jax.random.split(key, len(i))).mean()


encoder_key, decoder_key, test_key = jax.random.split(jax.random.key(3), 3)
vae = {"encoder": init_mlp(encoder_key, 64, 256, 4), "decoder": init_mlp(decoder_key, 2, 256, 64)}
vae = train(vae_loss, vae, steps=3000, learning_rate=1e-3)
print(f"test ELBO: {bounds(vae, x_test, jax.random.split(test_key, len(x_test))).mean():.2f} nats")

# %% [markdown]
# ## Not only losses
#
# Some objectives see one stream in time. `gae` estimates the advantages of actions from rewards, discounts and
# values: $A_{t-1} = \delta_t + \gamma_t \lambda A_t$ with $\delta_t = r_t + \gamma_t v_t - v_{t-1}$. Here is one
# reward at the end, and a critic that expects nothing: the credit shrinks by $\gamma\lambda$ with each step back.

# %%
r_t, discount_t, v = jnp.array([0.0, 0.0, 0.0, 1.0]), jnp.full(4, 0.9), jnp.zeros(5)
print(objectives.gae(r_t, discount_t, v[:-1], v[1:], lambda_=0.5))

# %% [markdown]
# ## What the autoencoder saw
#
# Left, where the encoder puts digits that it never saw, coloured by labels that it was never told. Right, what
# the decoder draws at the points of the plane.

# %%
means = mlp(vae["encoder"], x_test)[:, :2]
side = jnp.linspace(-2, 2, 12)
plane = jnp.stack(jnp.meshgrid(side, -side), axis=-1)
drawn = jax.nn.sigmoid(mlp(vae["decoder"], plane)).reshape(12, 12, 8, 8)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5))
points = left.scatter(*means.T, c=y_test, cmap="tab10", s=12)
left.legend(*points.legend_elements(), ncols=2, fontsize="small")
left.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", title="test digits on the plane")
right.imshow(drawn.transpose(0, 2, 1, 3).reshape(96, 96), cmap="gray_r", extent=(-2, 2, -2, 2))
right.set(title="the plane, drawn")
plt.show()

# %% [markdown]
# ## Yours
#
# The reference that `python docs/build.py` writes lists every objective with its formula, its paper and the
# shapes of its arguments. Three things to try here:
#
# * Give `elbo` a `beta=4.0`. Which digits keep their place?
# * Replace `distillation_loss` by `softmax_cross_entropy` on the teacher's argmax. What does the student lose?
# * Train the classifier with `focal_loss` on one-hot labels. It takes logits, too.
