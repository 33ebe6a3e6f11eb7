"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Generative adversarial networks
#
# A generator $G$ maps noise $z \sim \mathcal N(0, I)$ to data. No density is written down: a second net, the
# discriminator $D$, tells data from what $G$ makes, and $G$ is trained against it (Goodfellow et al., 2014):
#
# $$\min_G \max_D V(D, G), \qquad
# V(D, G) = \mathbb E_{x \sim p_{\mathrm{data}}}[\log D(x)] + \mathbb E_z[\log(1 - D(G(z)))] .$$
#
# So there are two players, each with a loss of its own. Here are the losses and what they measure, then a GAN
# that learns a ring of eight Gaussians before your eyes, and one that draws digits.

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
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from jaxdl import config, objectives
from jaxdl.nets.dcgan import Generator
from jaxdl.nets.mlp import MLP
from jaxdl.ops.pictures import image_grid
from jaxdl.train import fit

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook


def build(name, **arguments):
    """Build the experiment of a config."""
    function = config.load(Path(f"../configs/{name}.py"))
    experiment = function(**arguments | (function.__globals__["TINY"] if FAST else {}))
    if FAST:
        experiment = dataclasses.replace(experiment, validation=None)
    return experiment


# %% [markdown]
# ## What the best discriminator says
#
# Against a fixed generator of density $p_g$ the best discriminator is $D^*(x) = p_{\mathrm{data}}(x) /
# (p_{\mathrm{data}}(x) + p_g(x))$, and then
#
# $$V(D^*, G) = 2\, \mathrm{JS}(p_{\mathrm{data}} \,\Vert\, p_g) - \log 4 .$$
#
# A discriminator gives a logit $l$, $D = \sigma(l)$. `minimax_discriminator_loss` is $-\log D(x) -
# \log(1 - D(G(z)))$ of two logits. On a grid of the line, where expectations are sums:

# %%
line = jnp.linspace(-5, 5, 400)
log_data = jax.vmap(objectives.normal_log_prob)(line, jnp.full(400, -1.0), jnp.full(400, 0.0))
log_g = jax.vmap(objectives.normal_log_prob)(line, jnp.full(400, 1.0), jnp.full(400, -0.5))
probs_data, probs_g = jax.nn.softmax(log_data), jax.nn.softmax(log_g)
best = objectives.optimal_discriminator(probs_data, probs_g)
logit = log_data - log_g  # of D*

loss = objectives.minimax_discriminator_loss
terms = jax.vmap(jax.vmap(loss, (None, 0)), (0, None))(logit, logit)  # [of x, of G(z)]
print(f"-E[loss] at D*: {-probs_data @ terms @ probs_g:.4f}")
print(f"2 JS - log 4:   {2 * objectives.js_divergence(log_data, log_g) - jnp.log(4):.4f}")

figure, axes = plt.subplots(1, 3, figsize=(15, 3.4), layout="constrained")
axes[0].plot(line, jnp.exp(log_data), label="$p_{data}$")
axes[0].plot(line, jnp.exp(log_g), label="$p_g$")
axes[0].plot(line, best, "k--", label="$D^*$")
axes[0].set(title="the best discriminator", xlabel="$x$")

logits = jnp.linspace(-6, 6, 200)
for name in ("minimax", "non_saturating", "least_squares", "wasserstein"):
    generator_loss = getattr(objectives, f"{name}_generator_loss")
    axes[1].plot(logits, jax.vmap(jax.grad(generator_loss))(logits), label=name)
axes[1].set(title="slope of the generator's loss", xlabel="logit of $G(z)$", ylim=(-3, 0.5))

shifts, scale = jnp.linspace(0, 4, 60), 0.12
peak = lambda mean: jax.vmap(objectives.laplace_log_prob, (0, None, None))(line, mean, jnp.log(scale))
js = jax.lax.map(lambda shift: objectives.js_divergence(peak(jnp.zeros(())), peak(shift)), shifts)
sample = scale * jax.random.laplace(jax.random.key(0), (500,))
wasserstein = jax.lax.map(lambda shift: objectives.wasserstein1_1d(sample, sample + shift), shifts)
axes[2].plot(shifts, js, label="JS")
axes[2].plot(shifts, wasserstein, label="$W_1$")
axes[2].set(title="distance of two narrow peaks", xlabel="shift")
for axis in axes:
    axis.legend()
plt.show()

# %% [markdown]
# In the middle, why hardly anyone trains the game as it is written: where the discriminator is sure that
# $G(z)$ is false, at the left, the minimax loss $\log(1 - D(G(z)))$ has no slope. The non-saturating one,
# $-\log D(G(z))$, has its steepest slope there.
#
# At the right, why the game itself is replaced, too. Once two distributions hardly overlap, JS stays at
# $\log 2$ and no longer tells a near miss from a far one. The Wasserstein distance does (Arjovsky, Chintala &
# Bottou, 2017):
#
# $$W_1(p_{\mathrm{data}}, p_g) = \sup_{\lVert f \rVert_L \le 1} \mathbb E_{p_{\mathrm{data}}}[f(x)] -
# \mathbb E_z[f(G(z))] .$$
#
# The critic $f$ must have slopes of at most 1. `gradient_penalty` is $(\lVert \nabla f(\hat x) \rVert - 1)^2$
# at a point $\hat x$ between a real and a generated example (Gulrajani et al., 2017). Of a linear critic
# $f(x) = w \cdot x$ it is $(\lVert w \rVert - 1)^2$, wherever the point lies:

# %%
print(inspect.getsource(objectives.gradient_penalty).split('"""')[-1])


def penalty_of(w):
    """Return the gradient penalty of the critic f(x) = w·x between two points."""
    return objectives.gradient_penalty(lambda x: w @ x, jnp.zeros(2), jnp.ones(2), jax.random.key(0))


print(penalty_of(jnp.array([0.6, 0.8])), penalty_of(jnp.array([3.0, 4.0])))

# %% [markdown]
# ## A ring of eight Gaussians
#
# `jaxdl.learners.gan` joins two nets and two losses. Its players are `discriminator` and `generator`; each
# moves along the gradient of its own loss, with respect to its own params only. The config `gan_ring` trains
# small nets on the plane. Each `fit` below goes on where the one before ended.
#
# Blue is high where the discriminator believes in data. The dots are what the generator makes of noise. It is
# common that some modes are missed, or found and lost again: nothing in the game asks for all of them.

# %%
ring = build("gan_ring")
stages = (64,) if FAST else (300, 1000, 3000, 10_000)
side = jnp.linspace(-3, 3, 100)
plane = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
discriminator = MLP(None, (32,) if FAST else (128, 128))

workdir = Path(tempfile.mkdtemp()) / "ring"
shape = {"figsize": (4 * len(stages), 4.2), "layout": "constrained", "squeeze": False}
figure, axes = plt.subplots(1, len(stages), **shape)
for axis, steps in zip(axes[0], stages, strict=True):
    trained = fit(dataclasses.replace(ring, steps=steps), workdir, quiet=True)
    draw, *_ = ring.learner.export(trained.state, ring.test.batch_at(0))["sample"]
    points = jax.jit(jax.vmap(draw))(jnp.arange(1000, dtype=jnp.uint32))
    logits = discriminator.apply({"params": trained.state.params["discriminator"]}, plane, train=False)
    belief = jax.nn.sigmoid(logits).reshape(100, 100)
    axis.contourf(side, side, belief, levels=jnp.linspace(0, 1, 11), cmap="Blues", alpha=0.7)
    axis.scatter(*points.T, s=2, color="tab:red")
    reached = f"{trained.metrics['modes']:.0f} modes, {trained.metrics['high_quality']:.0%} near one"
    axis.set(
        title=f"step {steps}: {reached}", xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal"
    )
plt.show()

# %% [markdown]
# The losses of a GAN fall and rise with the strength of the other player, and do not say how good the samples
# are. If the discriminator could not tell them from data, its loss would be $\log 4 = 1.39$, and the
# generator's $\log 2 = 0.69$.

# %%
figure, axis = plt.subplots(figsize=(7, 3))
rows = [row for row in trained.rows if row["split"] == "train"]
for color, (player, at_balance) in enumerate({"discriminator": 4, "generator": 2}.items()):
    losses = [row[f"{player}/loss"] for row in rows]
    axis.plot([row["step"] for row in rows], losses, color=f"C{color}", label=player)
    axis.axhline(jnp.log(at_balance), color=f"C{color}", ls="--", lw=1)
axis.set(xlabel="step", ylabel="loss", title="each player's loss; dashed, at a draw")
axis.legend()
plt.show()

# %% [markdown]
# ## Digits
#
# DCGAN (Radford, Metz & Chintala, 2016) is the same game with convolutions. How good the samples are is
# measured by the squared Fréchet distance of two Gaussians, fitted to the pixels of samples and of test
# digits.
#
# $$\lVert \mu_1 - \mu_2 \rVert^2 + \mathrm{tr}\big(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\big)$$

# %%
digits = build("dcgan_digits", epochs=60)
trained = fit(digits, quiet=True)
print({name: round(value, 2) for name, value in trained.metrics.items()})

generator = Generator((8, 8, 1), (8, 8) if FAST else (128, 64))
variables = {"params": trained.state.ema_params["generator"], **trained.state.model_state["generator"]}
draw = jax.jit(lambda z: generator.apply(variables, z, train=False))
start, end = jax.random.normal(jax.random.key(0), (2, 8, 64))
t = jnp.linspace(0, 1, 10)[None, :, None]
walk = jnp.cos(t * jnp.pi / 2) * start[:, None] + jnp.sin(t * jnp.pi / 2) * end[:, None]
panels = {
    "test digits": image_grid(digits.test.batch_at(0)["x"]),
    "samples": image_grid(draw(jax.random.normal(jax.random.key(1), (64, 64)))),
    "each row, from one $z$ to another": image_grid(draw(walk.reshape(-1, 64)), columns=10),
}
figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
for axis, (title, picture) in zip(axes, panels.items(), strict=True):
    axis.imshow(picture[..., 0], cmap="gray_r", vmin=0, vmax=1)
    axis.set(title=title)
    axis.axis("off")
plt.show()

# %% [markdown]
# The walk keeps $z$ at the length that the generator is used to:
# $\cos(\pi t / 2)\, z_a + \sin(\pi t / 2)\, z_b$ is as normal as $z_a$ and $z_b$ are.
#
# ## Yours
#
# * `build("wgan_digits")` makes the critic move five times for each step of the generator, with the penalty.
# * `jaxdl.learners.gan` takes any pair of losses: `hinge_generator_loss` and `hinge_discriminator_loss`, say.
# * `build("gan_ring", latent_dim=1)`: can a line of noise reach all eight modes?
# * What does the ring become without `Options(ema=0.999)`, the average of the generator's params?
