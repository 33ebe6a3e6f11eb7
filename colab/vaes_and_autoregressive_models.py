"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # VAEs and autoregressive models
#
# Both are trained to give data a high probability, $\log p(x)$. They write it in two ways:
#
# | | model | training sees | a sample takes |
# |---|---|---|---|
# | VAE | $p(x) = \int p(x \mid z)\, p(z)\, \mathrm dz$ | a lower bound | one pass |
# | autoregressive | $p(x) = \prod_d p(x_d \mid x_1 \dots x_{d-1})$ | $\log p(x)$ itself | one for each $d$ |
#
# Here are the formulas, each beside the function of jaxdl that computes it. Then both are trained on the same
# binary digits, and compared in nats.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("jaxdl") is None:  # ".." is the folder of the repository
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)
    importlib.invalidate_caches()

# %%
import dataclasses
import inspect
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from jaxdl import config, objectives
from jaxdl.nets.made import MADE
from jaxdl.nets.pixel_cnn import GatedPixelCNN, PixelCNN
from jaxdl.train import fit, render_pictures

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook


def train(name, **arguments):
    """Train a config; return its experiment, the final state, and what it reached on the test digits."""
    function = config.load(Path(f"../configs/{name}.py"))
    experiment = function(**arguments | (function.__globals__["TINY"] if FAST else {}))
    if FAST:
        experiment = dataclasses.replace(experiment, validation=None)
    result = fit(experiment, quiet=True)
    print(name, {metric: round(value, 2) for metric, value in result.metrics.items()})
    return experiment, result


def show(pictures, width=4.5):
    """Draw pictures {title: [H, W, 1]} side by side."""
    _, axes = plt.subplots(1, len(pictures), figsize=(width * len(pictures), width), layout="constrained")
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture[..., 0], cmap="gray_r", vmin=0, vmax=1)
        axis.set(title=title)
        axis.axis("off")
    plt.show()


# %% [markdown]
# ## The bound
#
# Take a model where everything is known: $z \sim \mathcal N(0, 1)$ and $x \mid z \sim \mathcal N(z, 1)$, so
# that $x \sim \mathcal N(0, 2)$ and $z \mid x \sim \mathcal N(x/2, 1/2)$. For any $q(z \mid x)$,
#
# $$\log p(x) =
# \underbrace{\mathbb E_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\Vert\, p(z))}_{\mathrm{ELBO}} +
# \mathrm{KL}(q(z \mid x) \,\Vert\, p(z \mid x)) .$$
#
# The bound is one line of code, and the gap is the last term. Let $q$ be $\mathcal N(0, 1)$, which is wrong.

# %%
print(inspect.getsource(objectives.elbo).split('"""')[-1])

x, mean, log_std = jnp.array([1.5]), jnp.zeros(1), jnp.zeros(1)
truth = objectives.normal_log_prob(x, jnp.zeros(1), jnp.full(1, 0.5 * jnp.log(2.0)))


def draw(key):
    """Return the ELBO and log p(x, z)/q(z|x) at one draw of z."""
    z = objectives.reparameterize(key, mean, log_std)
    log_likelihood = objectives.normal_log_prob(x, z, jnp.zeros(1))
    log_prior, log_q = objectives.standard_normal_log_prob(z), objectives.normal_log_prob(z, mean, log_std)
    bound = objectives.elbo(log_likelihood, objectives.kl_standard_normal(mean, log_std))
    return bound, log_likelihood + log_prior - log_q


bounds, log_weights = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 2**16))
gap = objectives.kl_normal(mean, log_std, x / 2, jnp.full(1, 0.5 * jnp.log(0.5)))
print(f"log p(x) {truth:.3f} = ELBO {bounds.mean():.3f} + gap {gap:.3f}")

# %% [markdown]
# More draws make a better bound (Burda, Grosse & Salakhutdinov, 2016):
#
# $$L_K = \mathbb E\Big[\log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k \mid x)}\Big], \qquad
# \mathrm{ELBO} = L_1 \le L_2 \le \dots \to \log p(x) .$$

# %%
numbers = [2**power for power in range(0, 9, 2)]
values = [jax.vmap(objectives.iwae_bound)(log_weights.reshape(-1, k)).mean() for k in numbers]
figure, axis = plt.subplots(figsize=(6, 3.4))
axis.semilogx(numbers, values, "o-", base=2, label="$L_K$")
axis.axhline(truth, color="k", ls="--", label="$\\log p(x)$")
axis.set(xlabel="$K$", ylabel="nats")
axis.legend()
plt.show()

# %% [markdown]
# ## A VAE of digits
#
# Now the encoder's net gives $\mu$ and $\sigma$ of $q(z \mid x)$ in 16 dimensions, the decoder's the logits
# of $p(x \mid z)$, and both climb the bound. `jaxdl.learners.vae` joins them; the config is `vae_digits`. It
# also estimates $-\log p(x)$ of the test digits by $L_K$ with $K = 512$.

# %%
vae, trained = train("vae_digits", nll_samples=64 if FAST else 512)
show(render_pictures(vae.learner, vae.test, trained.state, jax.random.key(0)))

# %% [markdown]
# Each test digit stands beside its reconstruction. Each row of the interpolations walks from one digit to
# another along $(1 - t)\, z_a + t\, z_b$.
#
# ## What a dimension is worth
#
# The KL is a sum over the dimensions of $z$: how many nats each one tells of $x$, on average. With
# $\beta > 1$ before the KL a nat costs more (Higgins et al., 2017), and fewer dimensions are worth their
# price. `learner.export` gives the encoder as a function of one digit.

# %%
heavy, trained_heavy = train("vae_digits", beta=2.0)
figure, axis = plt.subplots(figsize=(7, 3.2))
for offset, (beta, experiment, result) in enumerate([(1, vae, trained), (2, heavy, trained_heavy)]):
    x = experiment.test.batch_at(0)["x"]
    encode, *_ = experiment.learner.export(result.state, {"x": x})["encode"]
    mean, log_std = jax.vmap(encode)(x)
    kl = jax.vmap(jax.vmap(objectives.kl_standard_normal))(mean, log_std).mean(0)  # [D]
    axis.bar(jnp.arange(len(kl)) + 0.4 * offset, jnp.sort(kl)[::-1], 0.4, label=f"$\\beta = {beta}$")
axis.set(xlabel="dimension of $z$, sorted", ylabel="KL in nats")
axis.legend()
plt.show()

# %% [markdown]
# ## One pixel after the other
#
# An autoregressive net takes a whole image and gives the logits $l_d$ of all
# $p(x_d = 1 \mid x_1, \dots, x_{d-1})$ in one pass. With
# $\log p(x) = \sum_d x_d \log \sigma(l_d) + (1 - x_d) \log \sigma(-l_d)$ it is trained by
# `bernoulli_log_prob`, which the VAE's decoder used, too. There is no bound, but a condition: $l_d$ must not
# see $x_d$ or what comes later. MADE multiplies its weights by masks. Each hidden unit has a degree, and sees
# inputs up to it; an output sees lower degrees only:
#
# $$M^{l}_{k'k} = 1[m^{l-1}(k') \le m^{l}(k)], \qquad M^{\mathrm{out}}_{kd} = 1[m^{L}(k) < d] .$$
#
# So $\partial l_d / \partial x_e = 0$ for $e \ge d$, whatever the weights are. Here they are random. The
# PixelCNNs do the same by convolutions. A plain one has a blind spot: pixels to the right of the red one, in
# the rows above, which reach no layer. The gated one, of two stacks of convolutions, has none.

# %%
size, key = 15, jax.random.key(0)
image = jax.random.uniform(key, (size, size, 1))
middle = size // 2


@partial(jax.jit, static_argnums=0)
def jacobian_of(net, x):
    """Return dl_d/dx_e, [D, D], at random weights."""
    params = net.init(key, x[None])
    return jax.jacobian(lambda flat: net.apply(params, flat.reshape(1, *x.shape)).ravel())(x.ravel())


@partial(jax.jit, static_argnums=0)
def seen_from_middle(net, x):
    """Return dl/dx of the pixel in the middle, an image."""
    params = net.init(key, x[None])
    return jax.grad(lambda x: net.apply(params, x[None])[0, middle, middle, 0, 0])(x)[..., 0]


figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
axes[0].imshow(jacobian_of(MADE(hidden=(200,)), image[:5, :5]) != 0, cmap="gray_r")
axes[0].set(title="MADE, 25 pixels", xlabel="pixel $e$", ylabel="its logit $l_d$ sees")
layers = 2 if FAST else 6
nets = PixelCNN(1, 8, layers, size=3), GatedPixelCNN(1, 8, layers, first_size=3)
for axis, net in zip(axes[1:], nets, strict=True):
    axis.imshow(seen_from_middle(net, image) != 0, cmap="gray_r")
    axis.plot(middle, middle, "s", color="tab:red", ms=9)
    axis.set(title=f"{type(net).__name__}: what the red pixel sees")
plt.show()

# %% [markdown]
# ## Training both
#
# `made_digits` and `pixelcnn_digits` train them on the binary digits of above. In the pictures of completions
# the first column is a test digit. In the others its lower half is drawn anew, given the upper one: pixel by
# pixel, each from its conditional.

# %%
made, made_trained = train("made_digits")
pictures = render_pictures(made.learner, made.test, made_trained.state, jax.random.key(0))
show({f"MADE: {name}": picture for name, picture in pictures.items()})

# %%
pixelcnn, pixelcnn_trained = train("pixelcnn_digits")
pictures = render_pictures(pixelcnn.learner, pixelcnn.test, pixelcnn_trained.state, jax.random.key(0))
show({f"gated PixelCNN: {name}": picture for name, picture in pictures.items()})

# %% [markdown]
# ## The same unit for all
#
# What a model is worth is its $-\log p(x)$ on digits it never saw, in nats for each: exact for the
# autoregressive ones, and from above for the VAE.

# %%
nll = {
    "VAE, bound": -trained.metrics["elbo"],
    "VAE, estimate": next(value for name, value in trained.metrics.items() if name.startswith("nll_k")),
    "MADE": made_trained.metrics["nll"],
    "gated PixelCNN": pixelcnn_trained.metrics["nll"],
}
figure, axis = plt.subplots(figsize=(6, 2.4))
axis.bar_label(axis.barh(list(nll), list(nll.values()), color="tab:gray"), fmt="%.2f", padding=3)
axis.set(xlabel="$-\\log p(x)$ in nats, lower is better", xlim=(0, 1.15 * max(nll.values())))
axis.invert_yaxis()
plt.show()

# %% [markdown]
# ## Yours
#
# * Train the VAE with `k=16`. It climbs $L_{16}$ in place of the ELBO. Does the estimate get better?
# * `flow_layers=2` bends the posterior by an inverse autoregressive flow, made of MADEs.
# * `train("made_digits", model="fvsbn")` leaves out the hidden layer. What does it cost?
# * `train("pixelcnn_digits", levels=17, conditional=True)` draws all grey levels, given the class.
