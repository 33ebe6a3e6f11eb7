"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Quickstart
#
# jaxdl is built of four nouns:
#
# | noun | what it is |
# |---|---|
# | **net** | a `flax.linen` module: arrays in, arrays out |
# | **objective** | a formula: a pure function of the arrays of one example |
# | **learner** | nets, objectives and an optimizer, joined into `init`, `step`, `evaluate`, `render` |
# | **experiment** | a learner, its data and the length of the run; what a config returns |
#
# First a command trains a config and leaves a run folder. Then come the nouns, from Python. At the end you
# write an objective that jaxdl does not have, join it to a net, and let the same loop train it.

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
import numpy as np

from jaxdl import cli, config, data, objectives, optim
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import Encoder
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Experiment, Player, fit, gradient_learner, load_part

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook
runs = Path(tempfile.mkdtemp())  # keep yours in a folder of your own

# %% [markdown]
# ## A command trains a config
#
# In a shell the next line is
#
# ```bash
# jaxdl train configs/vae_digits.py --latent-dim 2 --epochs 300 --quiet --workdir RUN
# ```
#
# It trains a variational autoencoder on 1258 real handwritten digits that come with scikit-learn. The options
# are the arguments of the config's function, and `--help` lists them. Without `--quiet` it shows its
# progress.

# %%
run = runs / "vae"
options = ["--latent-dim", "2", "--epochs", "4" if FAST else "300", "--workdir", str(run), "--quiet"]
assert cli.main(["train", "../configs/vae_digits.py", *options]) == 0

# %% [markdown]
# The run is a folder. `config.json` holds the config and every argument, `metrics.jsonl` one line for each
# measurement, `checkpoints` the last two states and the best one. Nothing else is needed to go on, to measure
# again, or to draw again: `jaxdl eval RUN`, `jaxdl render RUN`.

# %%
print(*sorted(str(path.relative_to(run)) for path in run.glob("*/*")), sep="\n")
assert cli.main(["eval", str(run)]) == 0

# %%
kinds = "reconstructions", "samples", "latent map"
figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
for axis, kind in zip(axes, kinds, strict=True):
    axis.imshow(plt.imread(run / "pictures" / f"{kind}.png"), cmap="gray_r")
    axis.set(title=kind)
    axis.axis("off")
plt.show()

# %% [markdown]
# Left, test digits, each beside what is left of it after a passage through two numbers. In the middle, digits
# that never were. Right, what the decoder draws at the points of the plane.
#
# The same command again would find the run finished, and only measure. With other arguments it would refuse,
# since the folder is of another run.
#
# ## The same from Python
#
# A config is a Python file with one function. `config.load` returns it, and it returns an `Experiment`. There
# is no registry and no string that names a class: the function calls the constructors, and you can read it.

# %%
vae_digits = config.load(Path("../configs/vae_digits.py"))
experiment = vae_digits(latent_dim=2)
print(inspect.getsource(vae_digits).split('"""')[-1])

# %% [markdown]
# A batch is a function of the seed and of the step, and of nothing else. So a run that goes on needs no state
# of its data, and one device or eight see the same examples.

# %%
batch = experiment.train.batch_at(7)
print({name: (leaf.shape, leaf.dtype) for name, leaf in batch.items()})
print("step 7 again is the same:", bool(jnp.array_equal(batch["x"], experiment.train.batch_at(7)["x"])))

# %% [markdown]
# A net is a Flax module, and what the run has learned is a tree of arrays, which `load_part` reads from its
# checkpoint by name. With both, the encoder puts each test digit on the plane, by the mean of
# $q(z \mid x) = \mathcal N(\mu, \sigma^2)$. The labels give the colours; the VAE was never told them.

# %%
encoder = Encoder(latent_dim=2, hidden=(256,))
variables = load_part(run, "params.model.encoder")
test = data.digits().test
mean, log_std = encoder.apply(variables, (test["image"] > 127).astype(np.float32))
figure, axis = plt.subplots(figsize=(6.4, 5))
points = axis.scatter(*mean.T, c=test["label"], cmap="tab10", s=14)
axis.legend(*points.legend_elements(), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
axis.set(title="test digits on the plane", xlabel="$\\mu_1$", ylabel="$\\mu_2$", aspect="equal")
plt.show()

# %% [markdown]
# ## Your own loss
#
# Suppose that many labels are wrong. Cross-entropy, $-\log p_y$, has to give each of them a high probability
# in the end, and so a net learns the mistakes by heart. The generalized cross-entropy of Zhang & Sabuncu
# (2018) is
#
# $$L_q(p, y) = \frac{1 - p_y^q}{q}, \qquad 0 < q \le 1,$$
#
# which is $-\log p_y$ as $q \to 0$ and $1 - p_y$ at $q = 1$. Its gradient is that of cross-entropy times
# $p_y^q$: labels that the net finds absurd pull little. jaxdl does not have it. An objective takes the arrays
# of one example and returns its value, and works on logits: $p_y^q = e^{q \log p_y}$.


# %%
def generalized_cross_entropy(logits, label, q=0.7):
    log_prob = objectives.categorical_log_prob(label, logits)
    return -jnp.expm1(q * log_prob) / q


logits, label = jnp.array([2.0, 0.0, -1.0]), jnp.array(1)
for q in (0.001, 0.7, 1.0):
    print(f"q = {q}: {generalized_cross_entropy(logits, label, q):.4f}")
probs = jax.nn.softmax(logits)
print(f"-log p_y: {-jnp.log(probs[1]):.4f}, 1 - p_y: {1 - probs[1]:.4f}")

# %% [markdown]
# `gradient_learner` makes a learner of three functions. `init` returns the params, one entry for each player
# (a GAN has two players, most systems one), and a state that no gradient trains, here nothing. `loss` is what
# the player minimises, over a batch: here is the `vmap`. `evaluate` returns one value for each example. A
# `render` is optional; it returns pictures, here the digits whose label the net finds least probable.

# %%
net = MLP(10, hidden=(256, 256))


def init(key, batch):
    return {"net": net.init(key, batch["image"], train=False)}, {}


def evaluate(params, model_state, batch, key):
    logits = net.apply(params["net"], batch["image"], train=False)
    return {"accuracy": (logits.argmax(-1) == batch["label"]).astype(jnp.float32)}


def render(params, model_state, batch, key):
    logits = net.apply(params["net"], batch["image"], train=False)
    log_probs = jax.vmap(objectives.categorical_log_prob)(batch["label"], logits)
    return {"hardest": image_grid(batch["image"][jnp.argsort(log_probs)[:16]])}


def learner_of(objective):
    def loss(params, model_state, batch, key):
        logits = net.apply(params["net"], batch["image"], train=True)
        return jax.vmap(objective)(logits, batch["label"]).mean(), (model_state, {})

    player = Player(loss, optim.adam(1e-3))
    return gradient_learner(init, {"net": player}, evaluate=evaluate, render=render)


# %% [markdown]
# Now 40 % of the training labels are drawn anew, so that about 36 % are wrong. Those of validation and test
# stay as they are.

# %%
train, validation, test = data.digits()
rng = np.random.default_rng(0)
wrong = rng.random(len(train["label"])) < 0.4
labels = np.where(wrong, rng.integers(10, size=len(wrong)), train["label"]).astype(np.int32)
batches = [
    data.Batches(split, batch_size=128, transform=data.scaled)
    for split in ({**train, "label": labels}, validation, test)
]


def experiment_of(objective):
    goal = {"monitor": "accuracy", "maximize": True}
    return Experiment(learner_of(objective), 64 if FAST else 1600, *batches, **goal, eval_every=32)


noisy = {
    "cross-entropy": experiment_of(objectives.softmax_cross_entropy),
    "generalized cross-entropy": experiment_of(generalized_cross_entropy),
}
results = {name: fit(experiment, quiet=True) for name, experiment in noisy.items()}

figure, axis = plt.subplots(figsize=(7, 4))
for name, result in results.items():
    curve = [(row["step"], row["accuracy"]) for row in result.rows if row["split"] == "validation"]
    axis.plot(*zip(*curve, strict=True), label=name)
    print(f"{name}: {result.metrics['accuracy']:.1%} of the test digits")
axis.set(
    title="40 % of the training labels are random",
    xlabel="step",
    ylabel="accuracy, right labels",
    ylim=(0, 1),
)
axis.legend()
plt.show()

# %% [markdown]
# Both learn the digits first. Then cross-entropy goes on to learn the mistakes.
#
# ## A run that is interrupted
#
# Your learner has all that those of jaxdl have. Here it stops half way, as if it had been killed, and the
# same call goes on from the last checkpoint. It ends in the same bits as the run above, which was never
# stopped.

# %%
whole = noisy["generalized cross-entropy"]
half = dataclasses.replace(whole, steps=whole.steps // 2)
stopped = fit(half, runs / "noisy", quiet=True)
resumed = fit(whole, runs / "noisy", quiet=True)
straight = results["generalized cross-entropy"]
same = jax.tree.map(jnp.array_equal, resumed.state.params, straight.state.params)
print(f"stopped at step {stopped.step}, went on to {resumed.step}")
print("the same params, bit by bit:", all(map(bool, jax.tree.leaves(same))))

# %% [markdown]
# Its folder holds what `render` drew: of a batch of test digits, those that are hardest for the net. And it
# holds a curve of each metric, the gradient's norm and the learning rate among them.

# %%
figure, axes = plt.subplots(1, 2, width_ratios=(1, 2.4), figsize=(13, 4), layout="constrained")
for axis, kind in zip(axes, ("hardest", "curves"), strict=True):
    axis.imshow(plt.imread(runs / "noisy" / "pictures" / f"{kind}.png"), cmap="gray_r")
    axis.set(title=kind)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Yours
#
# * Train the first command with `--latent-dim 16`. The bound rises; the map is gone. Why is it?
# * Set `q=1.0` by `functools.partial`. Does it still learn every digit?
# * Give `fit` the argument `patience=5`. When does cross-entropy stop, and which params does it return?
# * `jaxdl list` in a shell shows all configs. The other notebooks open them chapter by chapter.
