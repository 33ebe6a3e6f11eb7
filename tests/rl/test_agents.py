"""Every agent: seeds trained at once are those trained alone, and a run goes on where it stopped."""

import re
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy import stats

from jaxdl import config
from jaxdl.nets.policy import (
    ActionValues,
    CategoricalPolicy,
    Critics,
    DeterministicPolicy,
    GaussianPolicy,
    ReturnDistribution,
    StateDependentGaussianPolicy,
    StateValue,
    orthogonal,
)
from jaxdl.rl import (
    Box,
    Discrete,
    Environment,
    Priority,
    Schedule,
    TimeStep,
    actor_critic,
    c51,
    dqn,
    from_gymnax,
    ppo,
    reinforce,
    sac,
    td3,
)
from jaxdl.rl.advantage import standardize
from jaxdl.rl.agent import AgentState
from jaxdl.rl.off_policy import learn_from_batch
from jaxdl.rl.policy import head, likeliest, sampled
from jaxdl.rl.ppo import improve, shuffled, value_loss
from jaxdl.rl.replay import empty, remember
from jaxdl.rl.rollout import Transition
from jaxdl.rl.sac import squashed
from jaxdl.train import Checkpoints, Experiment, check_experiment

SGD = optax.sgd(1e-2)  # its equations have no amplified rounding
SCHEDULE = Schedule(num_envs=2, collect=4, updates=3, batch_size=8, capacity=24, warmup=8, n=2)
EXPLORE = {"epsilon": optax.linear_schedule(1.0, 0.1, 20), "target_every": 5, "schedule": SCHEDULE}
AGENTS = ["ppo", "dqn", "td3"]  # those of the configs go through the battery of configs too
SMALL = ["actor_critic", "reinforce", "c51", "sac"]  # in an environment that compiles fast


def walk(actions):
    """Wander by chance and by the action; episodes terminate beyond 2, and last for four steps at most."""

    def reset(key):
        x = jax.random.normal(key, (2,))
        return {"x": x, "time": jnp.int32(0)}, x

    def step(key, state, action):
        fresh, _ = reset(key)
        x = state["x"] + 0.5 * jax.random.normal(key, (2,)) + 0.3 * action.astype(jnp.float32).sum()
        time = state["time"] + 1
        terminated, truncated = jnp.abs(x[0]) > 2, time >= 4
        after = jax.tree.map(partial(jnp.where, terminated | truncated), fresh, {"x": x, "time": time})
        return after, TimeStep(after["x"], -jnp.abs(x).sum(), terminated, truncated, x)

    return Environment(reset, step, Box(np.full(2, -9.0), np.full(2, 9.0)), actions, 4)


@cache
def run_of(name):
    """The learner, its init and some steps, compiled."""
    learner = small(name) if name in SMALL else other(name)

    def run(state):
        return jax.lax.scan(lambda state, _: learner.step(state, None), state, None, length=3)

    return learner, jax.jit(learner.init), jax.jit(run)


def small(name):
    choose, push = walk(Discrete(2)), walk(Box(-np.ones(1, np.float32), np.ones(1, np.float32)))
    value, atoms = StateValue(()), {"low": -5.0, "high": 0.0}
    return {
        "actor_critic": partial(actor_critic, push, GaussianPolicy(1, ()), value, SGD, num_envs=2),
        "reinforce": partial(
            reinforce, choose, CategoricalPolicy(2, ()), SGD, baseline=value, baseline_optimizer=SGD
        ),
        "c51": partial(c51, choose, ReturnDistribution(2, 5, ()), SGD, **atoms, **EXPLORE),
        "sac": partial(
            sac, push, StateDependentGaussianPolicy(1, ()), Critics(2, ()), SGD, schedule=SCHEDULE
        ),
    }[name]()


def other(name):
    pole, pendulum = from_gymnax("CartPole-v1"), from_gymnax("Pendulum-v1")
    value, keywords = StateValue((8,)), {"num_envs": 2, "num_steps": 8, "epochs": 2, "minibatches": 2}
    q_net = ActionValues(2, (8,), dueling=True)
    return {
        "ppo": partial(ppo, pendulum, GaussianPolicy(1, (8,)), value, SGD, value_epsilon=0.2, **keywords),
        "dqn": partial(dqn, pole, q_net, SGD, double=True, priority=Priority(), **EXPLORE),
        "td3": partial(td3, pendulum, DeterministicPolicy(1, (8,)), Critics(2, (8,)), SGD, schedule=SCHEDULE),
    }[name]()


def leaves(tree):
    keys = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return [np.asarray(jax.random.key_data(leaf) if keys(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", AGENTS)
def test_a_run_goes_on_where_it_stopped(name, tmp_path):
    """Environments, replay buffer, optimizer and keys included, bit for bit."""
    learner, init, run = run_of(name)
    start = init(jax.random.key(2))
    like = check_experiment(Experiment(learner, 6, monitor="return"))
    middle, metrics = run(start)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, middle)
    end, _ = run(middle)
    restored, step = checkpoints.restore_latest(like)
    checkpoints.close()
    assert step == 3
    for a, b in zip(leaves(end), leaves(run(restored)[0]), strict=True):
        np.testing.assert_array_equal(a, b)

    pairs = zip(leaves(start.params), leaves(end.params), strict=True)
    assert not any(np.array_equal(a, b) for a, b in pairs)
    assert int(end.worlds.time) > int(middle.worlds.time) > int(start.worlds.time)
    for a, b in ((start.key, end.key), (start.worlds.key, end.worlds.key)):
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))
    losses = [metrics[name] for name in metrics if name.endswith("loss")]
    assert losses and np.isfinite(losses).all()


@pytest.mark.parametrize("name", AGENTS + SMALL)
def test_seeds_trained_at_once_are_those_trained_alone(name):
    _, init, run = run_of(name)
    keys = jax.random.split(jax.random.key(1), 2)
    together, _ = jax.jit(jax.vmap(lambda key: run(init(key))))(keys)
    alone, _ = run(init(keys[1]))
    for a, b in zip(leaves(together), leaves(alone), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-3, atol=1e-5)
    assert any(not np.array_equal(a[0], a[1]) for a in leaves(together.params))


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_seeds_on_several_devices_have_nothing_to_say_to_each_other(name):
    learner, over = other(name), NamedSharding(Mesh(jax.devices()[:2], "seeds"), PartitionSpec("seeds"))
    keys = jax.device_put(jax.random.split(jax.random.key(1), 2), over)
    state = jax.jit(jax.vmap(lambda key: learner.init(key, None)))(keys)
    program = jax.jit(jax.vmap(lambda state: learner.step(state, None)[0])).lower(state).compile().as_text()
    assert not re.findall(r"all-reduce|all-gather|all-to-all|collective-permute", program)


def test_an_evaluation_is_greedy():
    """Whatever the key, a deterministic environment and policy return the same."""
    net = CategoricalPolicy(3, ())
    params = net.init(jax.random.key(0), jnp.zeros((1, 2)))
    observation = jax.random.normal(jax.random.key(1), (50, 2))
    logits = net.apply(params, observation)
    distribution = head(Discrete(3))
    mode = likeliest(net, distribution, params, observation, jax.random.key(2))
    np.testing.assert_array_equal(mode, logits.argmax(-1))
    drawn = sampled(net, distribution, params, observation, distribution.noise(jax.random.key(2), 50))
    assert len(set(drawn.tolist())) == 3 and not np.array_equal(drawn, mode)


@pytest.mark.parametrize(
    ("v", "v_old", "target", "epsilon", "expected"),
    [
        (2.0, 0.0, 3.0, None, 0.5),
        (2.0, 0.0, 3.0, 0.5, 0.5 * 2.5**2),  # no gain beyond 0.5
        (0.2, 0.0, 3.0, 0.5, 0.5 * 2.8**2),  # within
        (2.0, 0.0, -1.0, 0.5, 0.5 * 3.0**2),  # what is worse counts in full
    ],
)
def test_value_loss_by_hand(v, v_old, target, epsilon, expected):
    assert float(value_loss(*map(jnp.float32, (v, v_old, target)), epsilon)) == pytest.approx(expected)


def test_standardized_advantages():
    values = standardize(jnp.asarray([1.0, 2.0, 6.0]))
    np.testing.assert_allclose([values.mean(), values.std()], [0.0, 1.0], atol=1e-6)
    np.testing.assert_array_equal(standardize(jnp.ones(3)), np.zeros(3))


def test_each_epoch_visits_each_transition_once():
    batch = {"advantage": jnp.arange(12)}

    def step(state, minibatch):
        return state.at[minibatch["advantage"]].add(1), {"order": minibatch["advantage"][0]}

    state, _ = improve(step, jnp.zeros(12), batch, jax.random.key(0), 3, 4)
    np.testing.assert_array_equal(state, np.full(12, 3))


def test_minibatches_are_drawn_alike():
    """Each place holds each transition as often, and all 720 orders of six come as often."""
    orders = np.asarray(shuffled(jax.random.key(0), 24_000, 6))
    np.testing.assert_array_equal(np.sort(orders), np.broadcast_to(np.arange(6), (24_000, 6)))
    counts = np.stack([np.bincount(place, minlength=6) for place in orders.T])
    assert stats.chisquare(counts.ravel(), ddof=10).pvalue > 0.01  # rows and columns sum to 24,000
    kinds = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(kinds) == 720 and stats.chisquare(kinds).pvalue > 0.01
    for size in (1, 2, 1_000, 4_096):  # of which the last fills its bits
        np.testing.assert_array_equal(np.sort(shuffled(jax.random.key(1), 1, size)[0]), np.arange(size))


ONE = Schedule(num_envs=1, collect=1, updates=1, batch_size=2, capacity=1, warmup=1, discount=0.9)


@pytest.mark.parametrize(("step", "beta"), [(0, 0.4), (50, 0.7), (100, 1.0), (200, 1.0)])
def test_weights_make_up_for_priorities_more_and_more(step, beta):
    """A step learns from two transitions, the one of three times the other's priority."""
    row = Transition(
        jnp.zeros((1, 1)), *(jnp.zeros(1) for _ in range(2)), *([jnp.zeros(1, bool)] * 2), jnp.zeros((1, 1))
    )
    memory = remember(empty(row, 2), jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), row))
    memory = memory._replace(priority=jnp.asarray([[1.0], [3.0]]))
    state = AgentState(jnp.int32(step), None, None, {"error": jnp.zeros(8)}, None, replay=memory)
    schedule = Schedule(batch_size=8, capacity=2, warmup=1)
    _, metrics = learn_from_batch(
        schedule,
        lambda state: state.model_state,
        Priority(1.0, 0.4, steps=100),
        lambda state, batch: (state, {"weight": batch["weight"]}),
        state,
        jax.random.key(0),
    )
    np.testing.assert_allclose(metrics["weight"], [1.0] * 2 + [3.0**-beta] * 6, rtol=1e-5)


def test_the_targets_of_td3_follow_with_the_policy():
    keywords = {"policy_every": 2, "target_rate": 0.25, "schedule": ONE}
    learner = td3(from_gymnax("Pendulum-v1"), DeterministicPolicy(1, ()), Critics(2, ()), SGD, **keywords)
    start, step = learner.init(jax.random.key(0)), jax.jit(learner.step)
    first, _ = step(start)
    second, _ = step(first)
    for a, b in zip(leaves(first.model_state["target"]), leaves(start.params), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(leaves(first.params["policy"]), leaves(start.params["policy"]), strict=True):
        np.testing.assert_array_equal(a, b)
    pairs = zip(
        leaves(start.params), leaves(second.params), leaves(second.model_state["target"]), strict=True
    )
    for old, new, target in pairs:
        np.testing.assert_allclose(target, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(leaves(second.params["policy"])[0], leaves(start.params["policy"])[0])


def test_a_squashed_action_has_the_density_of_its_image():
    mean, log_std = jnp.asarray([0.3, -1.0]), jnp.asarray([-0.5, 0.2])
    action, log_prob = jax.vmap(partial(squashed, mean=mean, log_std=log_std))(
        jax.random.split(jax.random.key(0), 100)
    )
    a = np.asarray(action, np.float64)
    expected = stats.norm(mean, np.exp(log_std)).logpdf(np.arctanh(a)) - np.log(1 - a**2)
    np.testing.assert_allclose(log_prob, expected.sum(-1), rtol=1e-3, atol=1e-3)
    far, density = squashed(jax.random.key(0), jnp.asarray([100.0]), jnp.asarray([0.0]))
    assert float(far[0]) == 1.0 and np.isfinite(density)


def test_target_networks_follow():
    learner, init, _ = run_of("dqn")  # copies after each fifth gradient step, of which a step takes three
    state, step = init(jax.random.key(0)), jax.jit(learner.step)
    start = leaves(state.params)
    state, _ = step(state)
    for a, b in zip(leaves(state.model_state["target"]), start, strict=True):
        np.testing.assert_array_equal(a, b)
    state, _ = step(state)
    target, params = leaves(state.model_state["target"]), leaves(state.params)
    assert not any(np.array_equal(a, b) for a, b in zip(target, start, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(target, params, strict=True))


def test_first_weights_are_orthogonal_one_by_one_and_at_once():
    init, keys = orthogonal(2.0), jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(lambda key: init(key, (4, 2))))(keys)
    for key, w in zip(keys, together, strict=True):
        np.testing.assert_allclose(w.T @ w, 4 * np.eye(2), atol=1e-5)
        np.testing.assert_allclose(w, init(key, (4, 2)), atol=1e-6)
    assert not np.allclose(together[0], together[1])


def test_dueling_values_are_centered():
    net = ActionValues(3, (4,), dueling=True)
    observation = jax.random.normal(jax.random.key(0), (5, 2))
    params = net.init(jax.random.key(1), observation)
    last = params["params"]["Torso_0"]["Dense_1"]
    both = jax.nn.relu(observation @ params["params"]["Torso_0"]["Dense_0"]["kernel"]) @ last["kernel"]
    q = net.apply(params, observation)
    np.testing.assert_allclose(q.mean(-1), both[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(q - q[:, :1], both[:, 1:] - both[:, 1:2], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    pole, pendulum = from_gymnax("CartPole-v1"), from_gymnax("Pendulum-v1")
    with pytest.raises(ValueError, match="do not divide into 3 minibatches"):
        ppo(pole, CategoricalPolicy(2), StateValue(), SGD, num_envs=2, num_steps=8, minibatches=3)
    with pytest.raises(ValueError, match="take ppo, td3 or sac"):
        dqn(pendulum, ActionValues(2), SGD, epsilon=lambda step: 0.1)
    short = dqn(pole, ActionValues(2), SGD, epsilon=lambda step: 0.1, schedule=Schedule(warmup=2, n=3))
    with pytest.raises(ValueError, match="give n <= warmup <= capacity"):
        short.init(jax.random.key(0))
    with pytest.raises(ValueError, match="take ppo or dqn"):
        td3(pole, DeterministicPolicy(1), Critics(2), SGD)
    for num_atoms, high in ((1, 2.0), (3, 0.0)):
        net, keywords = ReturnDistribution(2, num_atoms, (4,)), {"epsilon": lambda step: 0.1, "schedule": ONE}
        learner = c51(pole, net, SGD, low=0.0, high=high, **keywords)
        state = jax.eval_shape(learner.init, jax.random.key(0))
        with pytest.raises(ValueError, match="hold no distribution; give 2 or more"):
            jax.eval_shape(learner.step, state)


@pytest.mark.parametrize("name", ["dqn", "c51"])
@pytest.mark.parametrize("given", [{"explore_share": 0.0}, {"explore_share": 0.1, "env_steps": 16}])
def test_exploration_falls_in_the_shortest_run(name, given, monkeypatch):
    """A schedule over no steps would stay where it starts."""
    function = config.load(Path(__file__).parents[2] / "configs" / f"{name}_cartpole.py")
    learner, schedules = function.__globals__[name], []

    def spied(*arguments, epsilon, **keywords):
        schedules.append(epsilon)
        return learner(*arguments, epsilon=epsilon, **keywords)

    monkeypatch.setitem(function.__globals__, name, spied)
    function(explore_last=0.2, **given)
    assert [float(schedules[0](time)) for time in (0, 8, 1000)] == pytest.approx([1.0, 0.2, 0.2])
