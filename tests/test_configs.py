"""Every config: it builds, learns one batch, traces once, and jit, scan and restore change nothing."""

import ast
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import cli, config
from jaxdl.data import Batches
from jaxdl.train import Checkpoints, Experiment, compile_evaluate, compile_step, render_pictures
from jaxdl.train.experiment import check_experiment, first_items, initial_state, load
from jaxdl.train.pictures import save_all

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.py"))
# The loss that falls when a config learns one batch, and the share of it that is left at most. The players of
# a GAN pull against each other: what falls at first is the discriminator's loss.
FALLS = {
    "ar_series": ("loss", 0.85),
    "autoencoder_digits": ("loss", 0.85),
    "cnn_digits": ("loss", 0.85),
    "conditional_flow_digits": ("loss", 0.95),
    "conditional_vae_digits": ("loss", 0.85),
    "dcgan_digits": ("discriminator/loss", 0.9),
    "flow_density": ("loss", 0.95),
    "flow_digits": ("loss", 0.95),
    "gan_ring": ("discriminator/loss", 0.95),
    "lstm_text": ("loss", 0.85),
    "m2_digits": ("loss", 0.85),
    "made_digits": ("loss", 0.85),
    "mlp_digits": ("loss", 0.85),
    "nade_digits": ("loss", 0.85),
    "order_agnostic_digits": ("loss", 0.85),
    "pixelcnn_digits": ("loss", 0.85),
    "pixelcnn_photographs": ("loss", 0.85),
    "resnet_cifar10": ("loss", 0.85),
    "rnade_photographs": ("loss", 0.95),
    "tabular_digits": ("loss", 0.85),
    "transformer_text": ("loss", 0.85),
    "vae_digits": ("loss", 0.85),
    "vae_photographs": ("loss", 0.85),
    "vrnn_strokes": ("loss", 0.85),
    "wavenet_tones": ("loss", 0.85),
    "wgan_digits": ("discriminator/loss", 0.9),
}
# Those without batches: they draw their own experience, or hold all the data that a step goes over.
DRAWS = {
    "a2c_cartpole",
    "c51_cartpole",
    "cavi_ring",
    "dqn_cartpole",
    "dyna_q_maze",
    "monte_carlo_frozenlake",
    "ppo_cartpole",
    "q_learning_frozenlake",
    "reinforce_cartpole",
    "sac_pendulum",
    "sarsa_cliff",
    "td3_pendulum",
    "td_random_walk",
    "trpo_cartpole",
    "value_iteration_frozenlake",
}
STEPS = 48


class Tiny(NamedTuple):
    """A config at its TINY size, compiled once for all tests of it."""

    experiment: Experiment
    state: Any  # of step 0
    run: Any  # takes stacked items
    k: int  # steps of a call: convolutions run one by one, as they are many times slower inside a scan
    traces: list

    def start(self):
        """Return a copy, as the step takes the state it is given to itself."""
        return jax.tree.map(jnp.copy, self.state)


@cache
def tiny(name):
    function = config.load(FOLDER / f"{name}.py")
    experiment = function(**function.__globals__["TINY"])
    traces = []

    def step(state, batch, *, axis_name=None):
        traces.append(1)
        return experiment.learner.step(state, batch, axis_name=axis_name)

    k = min(experiment.steps_per_call or 2, 2)
    compiled = compile_step(step, steps_per_call=k, load=partial(load, experiment))

    def run(state, items):
        state, metrics = compiled(state, items if k > 1 else jax.tree.map(lambda leaf: leaf[0], items))
        return state, jax.tree.map(np.atleast_1d, metrics)

    return Tiny(experiment, initial_state(experiment), run, k, traces)


def fed(experiment, start, k):
    """What k steps are fed: the items of their batches, or their numbers where there are none."""
    return np.arange(start, start + k) if experiment.train is None else experiment.train.items(start, k)


def values(tree):
    return [
        np.asarray(
            jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        for leaf in jax.tree.leaves(tree)
    ]


def each(names):
    """Run a test for each of these configs."""
    return pytest.mark.parametrize("name", sorted(names))


every_config = each(path.stem for path in CONFIGS)


def test_every_config_has_its_row():
    assert sorted([*FALLS, *DRAWS]) == [path.stem for path in CONFIGS]


@every_config
def test_its_docstring_says_what_the_list_shows(name):
    facts = cli.describe(FOLDER / f"{name}.py")
    assert set(facts) == {"System", "Paper", "Data", "Command", "Time", "Expected"}
    assert f"jaxdl train configs/{name}.py" in facts["Command"]
    assert all(facts.values())


@every_config
def test_every_option_is_described(name):
    described = config.options(config.load(FOLDER / f"{name}.py"))
    bare = [
        option for option, keywords in described.items() if keywords["help"] in (option, keywords["dest"], "")
    ]
    assert not [option for option in bare if " " not in described[option]["help"]]
    assert "--seed" in described
    assert name in DRAWS or {"--on-nonfinite", "--clip-norm"} <= set(described)


@each(FALLS)
def test_its_loss_falls_on_one_batch_and_it_traces_once(name):
    experiment, _, run, k, traces = tiny(name)
    check_experiment(experiment)
    items = jax.tree.map(lambda leaf: np.stack([leaf] * k), first_items(experiment))
    metric, share = FALLS[name]
    state, losses = tiny(name).start(), []
    for _ in range(STEPS // k):
        state, metrics = run(state, items)
        losses.extend(metrics[metric].tolist())
    count = len(traces)
    run(state, items)
    assert len(traces) == count
    assert np.isfinite(losses).all()
    assert min(losses[-8:]) < share * losses[0], losses


@each(DRAWS)
def test_its_step_is_deterministic_and_traces_once(name):
    experiment, _, run, k, traces = tiny(name)
    check_experiment(experiment)
    first, _ = run(tiny(name).start(), fed(experiment, 0, k))
    again, _ = run(tiny(name).start(), fed(experiment, 0, k))
    for a, b in zip(values(first), values(again), strict=True):
        np.testing.assert_array_equal(a, b)
    count = len(traces)
    run(first, fed(experiment, k, k))
    assert len(traces) == count == 1


@every_config
def test_compiled_steps_equal_plain_ones(name):
    """Op by op and one step at a time: what the compiler fuses and scans must not change the result."""
    experiment, _, run, k, _ = tiny(name)
    compiled, _ = run(tiny(name).start(), fed(experiment, 0, k))
    state = tiny(name).start()
    for index in range(k):
        batch = None if experiment.train is None else experiment.train.batch_at(index)
        state, _ = experiment.learner.step(state, batch)
    compiled, state = (getattr(each, "params", each) for each in (compiled, state))
    for a, b in zip(values(compiled), values(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-2, atol=5e-3)


@every_config
def test_restore_equals_continue(name, tmp_path):
    experiment, _, run, k, _ = tiny(name)
    state, _ = run(tiny(name).start(), fed(experiment, 0, k))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(k, state)
    state, _ = run(state, fed(experiment, k, k))
    restored, step = checkpoints.restore_latest(check_experiment(experiment))
    checkpoints.close()
    restored, _ = run(restored, fed(experiment, step, k))
    for a, b in zip(values(state), values(restored), strict=True):
        np.testing.assert_array_equal(a, b)


@every_config
def test_it_evaluates_and_draws(name, tmp_path):
    experiment, state, key = tiny(name).experiment, tiny(name).start(), jax.random.key(0)
    few = data = experiment.validation
    assert isinstance(data, Batches) == (name in FALLS)
    if data is not None:
        source = jax.tree.map(lambda leaf: leaf[:50], data.source)
        few = Batches(source, data.batch_size, transform=data.transform)
    metrics = compile_evaluate(experiment.learner, few)(state, key)
    assert experiment.monitor in metrics
    assert np.isfinite(list(metrics.values())).all()
    pictures = render_pictures(experiment.learner, few, state, key)
    assert pictures
    assert all(path.stat().st_size > 0 for path in save_all(tmp_path, pictures))


@every_config
def test_every_choice_of_an_option_fits(name):
    function = config.load(FOLDER / f"{name}.py")
    sizes = function.__globals__["TINY"]
    for option, hint in get_type_hints(function).items():
        for choice in get_args(hint) if get_origin(hint) is Literal else ():
            check_experiment(function(**sizes | {option: choice}))


@every_config
def test_it_reads_like_a_page(name):
    source = (FOLDER / f"{name}.py").read_text()
    assert source.count("\n") < 110
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert all(ast.get_docstring(node) for node in functions)
