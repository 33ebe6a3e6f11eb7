"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Normalizing flows
#
# A flow is an invertible net $f$ that maps data $x$ to noise $z = f(x)$, $z \sim \mathcal N(0, I)$. So it has
# what other generative models lack: the density itself, in closed form, and a sample in one pass,
# $f^{-1}(z)$.
#
# $$\log p(x) = \log \mathcal N(f(x); 0, I) + \log \left| \det \frac{\partial f}{\partial x} \right|$$
#
# The determinant says how much $f$ stretches space. The art is in layers whose inverse and whose determinant
# are cheap. Here are the formula and the layers, then three flows on the plane, and one of images.

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

from jaxdl import config, data
from jaxdl.learners.flow import dequantized, log_prob, quantized
from jaxdl.nets import flows
from jaxdl.train import fit, render_pictures

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook


def train(name, **arguments):
    """Train a config; return its experiment, the final state, and what it reached on the test data."""
    function = config.load(Path(f"../configs/{name}.py"))
    experiment = function(**arguments | (function.__globals__["TINY"] if FAST else {}))
    if FAST:
        experiment = dataclasses.replace(experiment, validation=None)
    result = fit(experiment, quiet=True)
    print(arguments, {metric: round(value, 3) for metric, value in result.metrics.items()})
    return experiment, result


# %% [markdown]
# ## One layer
#
# A coupling layer (Dinh, Sohl-Dickstein & Bengio, 2017) leaves one half of the variables, $x^B$, as it is. A
# net reads that half, and gives a scale and a shift for the other:
#
# $$z^A = e^{s} \odot x^A + t, \qquad z^B = x^B, \qquad (s, t) = \beta(x^B), \qquad
# \log \left| \det \frac{\partial z}{\partial x} \right| = \sum_i s_i .$$
#
# The Jacobian is triangular, so that no determinant has to be computed, and the net $\beta$ is never
# inverted. In jaxdl a layer is a `Bijector` with the methods `forward_and_log_det` and `inverse_and_log_det`,
# and so is a chain of layers. Of a coupling, both methods are this one, with $h$ or with its inverse:

# %%
print(inspect.getsource(flows.Coupling.couple))

net, key, x = flows.real_nvp(layers=4, hidden=(16,)), jax.random.key(0), jnp.linspace(-1, 1, 8).reshape(4, 2)
noise = lambda leaf: leaf + 0.3 * jax.random.normal(key, leaf.shape)  # it starts as the identity
flow = net.bind(jax.tree.map(noise, jax.jit(net.init)(key, x)))


@jax.jit
def check(x):
    """Return log |det df/dx| of the flow, the same by autodiff, and how far the way back misses x."""
    z, log_det = flow.forward_and_log_det(x)
    jacobian = jax.vmap(jax.jacobian(lambda x: flow.forward_and_log_det(x[None])[0][0]))(x)
    return log_det, jnp.linalg.slogdet(jacobian)[1], jnp.abs(flow.inverse_and_log_det(z)[0] - x).max()


print(*check(x), sep="\n")

# %% [markdown]
# `change_of_variables_log_prob` joins the two terms, and the learner minimises $-\log p(x)$. There is no
# bound, and no adversary.

# %%
print(inspect.getsource(log_prob).split('"""')[-1])

# %% [markdown]
# ## Two moons
#
# The config `flow_density` draws points whose true density is known. So the gap to it can be measured:
# $\mathbb E[\log p_{\mathrm{true}}(x) - \log p(x)] = \mathrm{KL}(p_{\mathrm{true}} \,\Vert\, p)$.
# `learner.export` gives what a finished flow is good for: $\log p(x)$ of a point, and a draw from a seed.


# %%
def programs(experiment, result):
    """Return log p of points [N, 2], and the draws of seeds [N]."""
    made = experiment.learner.export(result.state, experiment.test.batch_at(0))
    return (jax.jit(jax.vmap(made[name][0])) for name in ("log_prob", "sample"))


def draw_density(axis, log_prob, title, side=jnp.linspace(-4, 4, 160)):
    """Draw a density of the plane."""
    points = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    axis.contourf(side, side, jnp.exp(log_prob(points)).reshape(160, 160), levels=12, cmap="Blues")
    axis.set(title=title, aspect="equal", xticks=[], yticks=[])


def draw_points(axis, points, title, color="tab:blue"):
    """Draw points of the plane."""
    axis.scatter(*points.T, s=2, c=color)
    axis.set(title=title, xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xticks=[], yticks=[])


moons, trained = train("flow_density")
log_prob_of, sample = programs(moons, trained)
x = moons.test.source["x"][:3000]
figure, axes = plt.subplots(1, 4, figsize=(15, 4), layout="constrained")
draw_points(axes[0], x, "data")
draw_density(axes[1], jax.vmap(data.two_moons_log_prob), "true density")
draw_density(axes[2], log_prob_of, "density of RealNVP")
draw_points(axes[3], sample(jnp.arange(3000, dtype=jnp.uint32)), "its samples")
plt.show()

# %% [markdown]
# On the way from data to noise each coupling moves the points along one axis only. The colour tells the moon
# that a point came from.

# %%
layers, hidden = (2, (16,)) if FAST else (12, (64, 64))  # those of the config
flow = flows.real_nvp(layers, hidden).bind({"params": trained.state.ema_params["flow"]})
off = [jnp.abs(jnp.hypot(*(x - center).T) - 2) for center in ([-1, -0.5], [1, 0.5])]  # from each circle
second = jnp.where(jnp.abs(x[:, 1]) > 0.9, x[:, 1] < 0, off[1] < off[0])
color = ["tab:orange" if each else "tab:blue" for each in second.tolist()]
figure, axes = plt.subplots(1, 5, figsize=(16, 3.6), layout="constrained")
z, panels = jnp.asarray(x), iter(axes)
draw_points(next(panels), z, "x", color)
for number, layer in enumerate(flow.layers, 1):
    z, _ = layer.forward_and_log_det(z)
    if number * 4 % layers == 0:
        draw_points(next(panels), z, f"after {number} layers" if number < layers else "z", color)
plt.show()

# %% [markdown]
# ## Other layers
#
# | flow | layer | log-determinant | fast for |
# |---|---|---|---|
# | NICE | $z^A = x^A + t(x^B)$; one scaling at the end | that of the scaling | both ways |
# | RealNVP | $z^A = e^{s} \odot x^A + t$ | $\sum_i s_i$ | both ways |
# | MAF | $z_i = e^{s_i} x_i + t_i$, with $s_i, t_i$ from $x_1, \dots, x_{i-1}$ | $\sum_i s_i$ | densities |
# | IAF | the inverse of such a layer | $-\sum_i s_i$ of it | samples |
# | spline flow | $z^A$ a monotone spline of $x^A$, its knots from $x^B$ | sum of log-slopes | both ways |
#
# Eight Gaussians are hard: between them is nothing, and a continuous map cannot tear. Affine
# layers leave bridges. Splines can be steep enough to make them too thin to be seen.

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
draw_density(axes[0], jax.vmap(data.eight_gaussians_log_prob), "true density")
for axis, (kind, layers) in zip(axes[1:], {"real_nvp": 8, "spline_flow": 4}.items(), strict=True):
    arguments = {"density": "eight_gaussians", "flow": kind, "layers": layers, "steps": 2000}
    ring, trained_ring = train("flow_density", **arguments)
    log_prob_of, _ = programs(ring, trained_ring)
    draw_density(axis, log_prob_of, f"{kind}, gap {trained_ring.metrics['gap']:.2f} nats")
plt.show()

# %% [markdown]
# ## Images
#
# A density on discrete levels would put spikes on them, and grow without end. So levels $k$ are spread over
# their bins and mapped to the real line,
#
# $$x = \mathrm{logit}\big(\alpha + (1 - 2\alpha) (k + u) / B\big), \; u \sim \mathcal U[0, 1),$$
#
# for $B$ levels, and with the log-determinant of that, $\log p(x)$ bounds $\log P(k)$ from below. It is
# reported in bits per dimension, $-\log_2 P(k) / D$. `dequantized` is made of `objectives.dequantize` and
# `objectives.logit_transform`; `quantized` is the way back.

# %%
image = data.to_float(jnp.asarray(data.digits().test["image"]))
example = dequantized(image[0], key, bins=17)
same = jnp.array_equal(jnp.round(16 * image[0]), 16 * quantized(example["x"], bins=17))
print("the way back leads to the same levels:", bool(same))
print(f"uniform noise would cost log2(17) = {jnp.log2(17):.2f} bits per dimension")

# %% [markdown]
# Glow (Kingma & Dhariwal, 2018) is a flow of images: invertible 1x1 convolutions between couplings, on
# several scales. Samples from $z \sim \mathcal N(0, T^2 I)$ with $T < 1$ are likelier than those of the data.

# %%
glow, trained_glow = train("flow_digits", epochs=20)
pictures = render_pictures(glow.learner, glow.test, trained_glow.state, jax.random.key(0))
figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
    axis.imshow(picture[..., 0], cmap="gray_r")
    axis.set(title=title)
    axis.axis("off")


@jax.jit
def bits(image):
    """Return the bits per dimension of each image."""
    batch = jax.vmap(partial(dequantized, bins=17))(image, jax.random.split(key, len(image)))
    return glow.learner.evaluate(trained_glow.state, batch, key)["bits_per_dim"]


order = jax.random.permutation(key, 64)
shuffled = image.reshape(-1, 64)[:, order].reshape(image.shape)
kinds = {"test digits": image, "upside down": image[:, ::-1], "pixels shuffled": shuffled}
for title, images in kinds.items():
    values = bits(images)
    axes[2].hist(values, bins=jnp.linspace(1, 16, 90), alpha=0.6, label=f"{title}, mean {values.mean():.2f}")
axes[2].set(xlabel="bits per dimension", yticks=[])
axes[2].legend()
plt.show()

# %% [markdown]
# The density knows what a digit is made of: the same pixels in another order are improbable. But many a digit
# upside down is one still, or is made of the same strokes, and costs little more.
#
# ## Yours
#
# * `train("flow_density", flow="maf", layers=8)`. Which of evaluation and sampling takes two passes?
# * `octaves=4` shows each conditioner waves of its input. What does it do to the bridges of RealNVP?
# * `density="checkerboard"` has edges. Which flow gets them straight?
# * With diffrax, `flow="continuous"` replaces layers by an ordinary differential equation.
