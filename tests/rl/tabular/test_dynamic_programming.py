"""Dynamic programming against published tables, closed forms, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl import tabular
from jaxdl.rl.tabular.dynamic_programming import improve

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def optimized():
    """Compile as a run does: the tables are held to the last bits of float32."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def swept(learner, num):
    """Run so many steps; return the states after each, and the residuals."""

    def step(state, _):
        state, metrics = learner.step(state, None)
        return state, (state, metrics["residual"])

    return jax.jit(lambda: jax.lax.scan(step, learner.init(KEY, None), None, num)[1])()


def last(learner, num):
    states, _ = swept(learner, num)
    return jax.tree.map(lambda leaf: leaf[-1], states)


def lake(size, slippery=True):
    return tabular.frozen_lake(size, slippery)


@pytest.mark.parametrize(
    ("size", "slippery", "discount", "expected"),
    [
        ("4x4", True, 1.0, 0.823529),  # 14/17
        ("4x4", True, 0.99, 0.542026),
        ("4x4", True, 0.9, 0.068891),
        ("4x4", False, 0.99, 0.950990),
        ("8x8", True, 1.0, 1.0),
        ("8x8", True, 0.99, 0.414640),
        ("8x8", True, 0.9, 0.006411),
    ],
)
@pytest.mark.parametrize(("method", "num"), [("value_iteration", 8_000), ("policy_iteration", 10)])
def test_the_value_of_the_start_of_frozen_lake(method, num, size, slippery, discount, expected):
    plan = last(getattr(tabular, method)(lake(size, slippery), discount=discount), num)
    assert float(plan.v[0]) == pytest.approx(expected, abs=2e-5 if discount == 1 else 2e-6)


@pytest.mark.parametrize(("size", "limit", "expected"), [("4x4", 100, 0.7442), ("8x8", 200, 0.9132)])
def test_sweeps_from_zero_are_backward_induction(size, limit, expected):
    """k sweeps without discount give the best chance of success within k steps."""
    plan = last(tabular.value_iteration(lake(size), discount=1.0), limit)
    assert float(plan.v[0]) == pytest.approx(expected, abs=5e-5)


GRID_RANDOM = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
GRID_BEST = [[0, -1, -2, -3], [-1, -2, -3, -2], [-2, -3, -2, -1], [-3, -2, -1, 0]]


@pytest.mark.parametrize(
    ("make", "discount", "num", "expected"),
    [
        ("policy_evaluation", 1.0, 500, GRID_RANDOM),
        ("value_iteration", 1.0, 4, GRID_BEST),
        ("policy_iteration", 1.0, 4, GRID_BEST),
    ],
)
def test_the_4x4_grid(make, discount, num, expected):
    mdp = tabular.gridworld_4x4()
    policy = (mdp.random_policy,) if make == "policy_evaluation" else ()
    plan = last(getattr(tabular, make)(mdp, *policy, discount=discount), num)
    np.testing.assert_allclose(plan.v.reshape(4, 4), expected, atol=1e-3)


def test_the_5x5_grid():
    mdp = tabular.gridworld_5x5()
    best = last(tabular.value_iteration(mdp, discount=0.9), 300).v.reshape(5, 5)
    random = last(tabular.policy_evaluation(mdp, mdp.random_policy, discount=0.9), 300).v.reshape(5, 5)
    np.testing.assert_allclose(best[0], [22.0, 24.4, 22.0, 19.4, 17.5], atol=0.05)
    np.testing.assert_allclose(random[0], [3.3, 8.8, 4.4, 5.3, 1.5], atol=0.05)


@pytest.mark.parametrize(
    ("mdp", "discount", "expected"),
    [
        (tabular.cliff_walking(), 1.0, -13),
        (tabular.maze(), 0.95, 0.95**13),  # 14 steps, the last of them rewarded
        (tabular.taxi(), 1.0, 7.93),
    ],
    ids=["cliff", "maze", "taxi"],
)
def test_the_best_return(mdp, discount, expected):
    plan = last(tabular.policy_iteration(mdp, discount=discount), 30)
    assert float(mdp.start @ plan.v) == pytest.approx(expected, abs=1e-4)


P_GO, GAMMA = 0.8, 0.9


def two_states():
    """Staying in state 1 pays 1; going to the other state succeeds with probability 0.8."""
    table = {
        s: {0: [(1.0, s, float(s), False)], 1: [(P_GO, 1 - s, 0.0, False), (1 - P_GO, s, 0.0, False)]}
        for s in range(2)
    }
    return tabular.from_table(table, [1, 0], 10, [[0, 1]], [(0, 0), (0, 1)])


def test_the_value_where_the_next_state_is_uncertain():
    """v*(1) = 1/(1 − γ); v*(0) is a mean over what may follow, not what follows most likely: that were 9."""
    expected = np.array([GAMMA * P_GO * 10 / (1 - GAMMA * (1 - P_GO)), 10])
    for make, num in ((tabular.value_iteration, 400), (tabular.policy_iteration, 3)):
        np.testing.assert_allclose(last(make(two_states(), discount=GAMMA), num).v, expected, rtol=1e-5)
    assert expected[0] == pytest.approx(8.7805, abs=1e-4)


def test_value_iteration_contracts_and_does_not_arrive():
    """The error of state 1 is 10γᵏ after k sweeps: it shrinks by γ each time, and is never 0."""
    states, residual = swept(tabular.value_iteration(two_states(), discount=GAMMA), 60)
    k = np.arange(1, 61)
    np.testing.assert_allclose(10 - states.v[:, 1], 10 * GAMMA**k, rtol=1e-3)
    np.testing.assert_allclose(residual, GAMMA ** (k - 1), rtol=1e-3)
    assert (np.asarray(residual) > 0).all()
    # What is right after finitely many sweeps is the policy.
    np.testing.assert_array_equal(states.policy[5:], np.tile(np.eye(2)[[1, 0]], (55, 1, 1)))


@pytest.mark.parametrize("discount", [1.0, 0.99, 0.9])
def test_value_iteration_contracts_on_the_lake(discount):
    mdp = lake("4x4")
    best = last(tabular.policy_iteration(mdp, discount=discount), 10).v
    states, _ = swept(tabular.value_iteration(mdp, discount=discount), 40)
    error = np.abs(np.asarray(states.v) - best[None]).max(1)
    assert (error[1:] <= discount * error[:-1] + 1e-5).all()
    assert error[-1] > 1e-3


@pytest.mark.parametrize("discount", [1.0, 0.99, 0.9])
@pytest.mark.parametrize("size", ["4x4", "8x8"])
def test_policy_iteration_improves_and_ends(size, discount):
    """There are finitely many policies, and none comes twice: from some step on nothing changes at all."""
    states, residual = swept(tabular.policy_iteration(lake(size), discount=discount), 12)
    assert (np.diff(np.asarray(states.v), axis=0) > -2e-5).all()
    assert (np.asarray(residual[-4:]) == 0).all()
    np.testing.assert_array_equal(states.policy[-1], states.policy[-4])


def test_a_policy_stays_where_nothing_is_better():
    q = jnp.array([[1.0, 1.0], [1.0, 2.0], [3.0, 1.0]])
    policy = jnp.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_array_equal(improve(q, policy), [[0.5, 0.5], [0, 1], [1, 0]])


def test_evaluation_follows_the_policy():
    """The success rate within the limit is at most the best one, and near it."""
    learner = tabular.value_iteration(lake("4x4"), discount=0.99, num_episodes=4_000)
    values = jax.jit(learner.evaluate)(last(learner, 500), None, KEY)
    assert set(np.unique(values["return"])) == {0, 1}
    assert float(values["return"].mean()) == pytest.approx(0.74, abs=0.03)
    assert int(values["length"].max()) == 100
    assert float(values["start_value"][0]) == pytest.approx(0.542, abs=2e-3)
