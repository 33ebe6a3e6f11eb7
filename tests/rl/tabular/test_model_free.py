"""Methods that learn from samples: single updates by hand, closed-form values, seeds and resumption."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.rl import over_seeds, side_by_side, tabular
from jaxdl.rl.tabular.dyna import Model, imagine, remember
from jaxdl.rl.tabular.mdp import Transition
from jaxdl.rl.tabular.monte_carlo import average_in, first_visits
from jaxdl.train import Experiment, fit

KEY = jax.random.key(0, impl="rbg")  # compiles several times faster than the default generator
GAMMA = 0.9


def constant(*probs):
    """A policy that looks at nothing."""
    return lambda q, step: jnp.array(probs)


def epsilon(amount):
    return tabular.scheduled(tabular.epsilon_greedy, optax.constant_schedule(amount))


# ---- one transition, by hand


def one_step(action):
    """From state 0 action 0 leads to state 1, and action 1 to state 2, the end; a step is an episode."""
    table = {
        0: {0: [(1.0, 1, 1.0, False)], 1: [(1.0, 2, 1.0, True)]},
        1: {a: [(1.0, 1, 0.0, False)] for a in range(2)},
        2: {a: [(1.0, 2, 0.0, True)] for a in range(2)},
    }
    return tabular.from_table(table, [1, 0, 0], 1, [[0, 1, 2]], [(0, 1), (0, -1)])


Q = jnp.array([[2.0, 2.0], [3.0, 5.0], [70.0, 90.0]])  # of the end, too: it must not be looked at
OTHER_Q = jnp.array([[2.0, 2.0], [20.0, 10.0], [80.0, 60.0]])
HALF = optax.constant_schedule(0.5)


def after_one(learner, **fields):
    """The state and the metrics after a step from the first state with some of its fields replaced."""
    return jax.jit(lambda: learner.step(learner.init(KEY, None)._replace(**fields), None))()


def moved(target):
    """Half the way from 2 to a target."""
    return 2 + 0.5 * (target - 2)


@pytest.mark.parametrize("action", [0, 1], ids=["truncated", "terminated"])
@pytest.mark.parametrize(
    ("method", "policy", "value"),
    [
        (tabular.sarsa, (1.0, 0.0), 3),
        (tabular.sarsa, (0.0, 1.0), 5),
        (tabular.expected_sarsa, (0.25, 0.75), 4.5),
        (tabular.q_learning, (1.0, 0.0), 5),
    ],
)
def test_one_update(method, policy, value, action):
    """Bootstrapping is cut where the episode terminated, and nowhere else."""
    learner = method(one_step(action), constant(*policy), discount=GAMMA, learning_rate=HALF)
    new, metrics = after_one(learner, q=Q[None], action=jnp.asarray(action))
    target = 1 + GAMMA * value if action == 0 else 1
    np.testing.assert_allclose(new.q[0], Q.at[0, action].set(moved(target)), rtol=1e-6)
    assert float(metrics["td_error"]) == pytest.approx(abs(target - 2))
    assert (float(metrics["episode_return"]), float(metrics["episode_length"])) == (1, 1)
    assert np.argwhere(np.asarray(new.visits)).tolist() == [[0, 0, action]]
    assert [float(leaf) for leaf in new.position] == [0, 0, 0]  # a new episode


@pytest.mark.parametrize("action", [0, 1], ids=["truncated", "terminated"])
def test_one_update_of_double_q_learning(action):
    """A coin says which table is moved; the best action of that table is valued by the other."""
    learner = tabular.double_q_learning(
        one_step(action), constant(0.5, 0.5), discount=GAMMA, learning_rate=HALF
    )
    tables = jnp.stack([Q, OTHER_Q])

    @jax.jit
    @jax.vmap
    def step(key):
        state = learner.init(key, None)._replace(q=tables, action=jnp.asarray(action))
        return learner.step(state, None)[0]

    new = step(jax.random.split(KEY, 16))
    targets = (1 + GAMMA * 10, 1 + GAMMA * 3) if action == 0 else (1, 1)
    table = np.asarray(new.visits[:, :, 0, action]).argmax(1)
    assert set(table) == {0, 1}
    for index, q in zip(table, new.q, strict=True):
        expected = tables.at[index, 0, action].set(moved(targets[index]))
        np.testing.assert_allclose(q, expected, rtol=1e-6)


@pytest.mark.parametrize("action", [0, 1], ids=["truncated", "terminated"])
def test_one_update_of_dyna_q(action):
    """The model knows one transition after one step, and repeats it; it was told whether that is an end."""
    policy = constant(1.0 - action, 0.0 + action)
    learner = tabular.dyna_q(one_step(action), policy, discount=GAMMA, learning_rate=HALF, planning_steps=2)
    new, _ = after_one(learner, q=Q)
    target = 1 + GAMMA * 5 if action == 0 else 1
    np.testing.assert_allclose(new.q, Q.at[0, action].set(target - (target - 2) / 8), rtol=1e-6)
    assert new.model.terminal.tolist() == [False, False, action == 1]


@pytest.mark.parametrize("action", [0, 1], ids=["truncated", "terminated"])
@pytest.mark.parametrize("lambda_", [0.0, 0.8])
def test_one_update_of_td(lambda_, action):
    v = jnp.array([2.0, 4.0, 70.0])
    policy = jax.nn.one_hot(jnp.full(3, action), 2)
    learner = tabular.td_lambda(one_step(action), policy, discount=GAMMA, learning_rate=HALF, lambda_=lambda_)
    new, _ = after_one(learner, v=v)
    np.testing.assert_allclose(new.v, v.at[0].set(moved(1 + GAMMA * 4 if action == 0 else 1)), rtol=1e-6)
    assert not new.trace.any()  # what comes next is another episode


@pytest.mark.parametrize("action", [0, 1], ids=["truncated", "terminated"])
def test_one_update_of_monte_carlo(action):
    """An episode that was cut off goes on with the value of the state it was cut off in."""
    mdp, probs = one_step(action), (1.0 - action, 0.0 + action)
    learner = tabular.monte_carlo_evaluation(mdp, jnp.tile(jnp.array(probs), (3, 1)), discount=GAMMA)
    v, counts = jnp.array([2.0, 4.0, 70.0]), jnp.array([3.0, 0.0, 0.0])
    new, _ = after_one(learner, v=v, visits=counts)
    target = 1 + GAMMA * 4 if action == 0 else 1
    np.testing.assert_allclose(new.v, v.at[0].set((3 * 2 + target) / 4), rtol=1e-6)

    learner = tabular.monte_carlo_control(mdp, constant(*probs), discount=GAMMA)
    counts = jnp.zeros((3, 2)).at[0].set(3.0)
    new, _ = after_one(learner, v=Q, visits=counts)
    target = 1 + GAMMA * 3 if action == 0 else 1  # the policy takes action 0 in state 1, worth 3
    np.testing.assert_allclose(new.v, Q.at[0, action].set((3 * 2 + target) / 4), rtol=1e-6)


def test_sarsa_takes_the_action_it_valued_and_q_learning_chooses_again():
    """Greedy at state 0, which action 0 leaves as it is, before the update and after it."""
    table = {0: {0: [(1.0, 0, -5.0, False)], 1: [(1.0, 0, 0.0, False)]}}
    mdp = tabular.from_table(table, [1], 9, [[0]], [(0, 0), (0, 0)])
    for method, expected in ((tabular.sarsa, 0), (tabular.q_learning, 1)):
        learner = method(mdp, epsilon(0.0), discount=GAMMA, learning_rate=HALF)
        new, _ = after_one(learner, q=jnp.array([[[1.0, 0.0]]]), action=jnp.asarray(0))
        assert int(new.action) == expected


@pytest.mark.parametrize("traces", ["accumulating", "replacing"])
def test_traces_by_a_loop(traces):
    """Around two states, rewards 1 and 2, cut off after five steps: state 0 is visited three times."""
    table = {0: {0: [(1.0, 1, 1.0, False)]}, 1: {0: [(1.0, 0, 2.0, False)]}}
    mdp = tabular.from_table(table, [1, 0], 5, [[0, 1]], [(0, 1)])
    learner = tabular.td_lambda(
        mdp,
        jnp.ones((2, 1)),
        discount=GAMMA,
        learning_rate=tabular.power_decay(0.5),
        lambda_=0.8,
        traces=traces,
    )
    states = jax.jit(
        lambda state: jax.lax.scan(lambda s, _: (learner.step(s, None)[0],) * 2, state, None, 8)[1]
    )(learner.init(KEY, None))
    v, e, visits = np.zeros(2), np.zeros(2), np.zeros(2)
    for t, s in enumerate([0, 1, 0, 1, 0, 0, 1, 0]):  # begins anew after five
        delta = (1 + s) + GAMMA * v[1 - s] - v[s]
        e *= GAMMA * 0.8
        e[s] = e[s] + 1 if traces == "accumulating" else 1
        visits[s] += 1
        v += np.maximum(visits, 1) ** -0.5 * delta * e
        if t == 4:
            e[:] = 0
        np.testing.assert_allclose(states.v[t], v, rtol=1e-5)


# ---- the parts of Monte Carlo and of Dyna


def test_first_visits_and_running_means():
    visited, mask = jnp.array([2, 0, 2, 1, 0]), jnp.array([1.0, 1, 1, 1, 0])
    assert first_visits(visited, mask, 3).tolist() == [1, 1, 0, 1, 0]
    assert first_visits(visited, jnp.zeros(5), 3).tolist() == [0] * 5
    values = jnp.array([1.0, 2.0, 3.0, 4.0, 50.0])
    means, counts = average_in(jnp.array([0.0, 5.0, 9.0]), jnp.array([0.0, 3.0, 2.0]), visited, values, mask)
    np.testing.assert_allclose(means, [2, (15 + 4) / 4, (18 + 1 + 3) / 4])
    assert counts.tolist() == [1, 4, 4]


def test_the_model_of_dyna_draws_what_it_has_seen():
    """A state first, then an action taken there, then a successor by its share."""
    model = Model(jnp.zeros((3, 2, 3)), jnp.zeros((3, 2, 3)), jnp.zeros(3, bool))
    no, yes = jnp.asarray(False), jnp.asarray(True)
    seen = [(0, 0, 1, 5.0), (0, 0, 1, 5.0), (0, 0, 0, 6.0), (1, 0, 2, 7.0), (1, 1, 1, 8.0)]
    for s, a, s_t, r in seen:
        move = Transition(*map(jnp.asarray, (s, a, r, s_t)), yes if s_t == 2 else no, yes)
        model = jax.jit(remember)(model, move)
    drawn = jax.jit(imagine, static_argnums=2)(model, KEY, 4_000)
    keys = list(zip(*(np.asarray(each).tolist() for each in drawn[:4]), strict=True))
    share = {key: keys.count(key) / 4_000 for key in set(keys)}
    expected = {(0, 0, 5.0, 1): 1 / 3, (0, 0, 6.0, 0): 1 / 6, (1, 0, 7.0, 2): 1 / 4, (1, 1, 8.0, 1): 1 / 4}
    assert share == pytest.approx(expected, abs=0.04)
    np.testing.assert_array_equal(drawn.terminated_t, drawn.s_t == 2)
    assert not drawn.truncated_t.any()


# ---- values in closed form


def going_on():
    """Staying in state 1 pays 1; going succeeds with probability 0.8. It is cut off, and never terminates."""
    table = {
        s: {0: [(1.0, s, float(s), False)], 1: [(0.8, 1 - s, 0.0, False), (0.2, s, 0.0, False)]}
        for s in range(2)
    }
    return tabular.from_table(table, [0.5, 0.5], 20, [[0, 1]], [(0, 0), (0, 1)])


def ending():
    """State 1 is the end. Action 0 pays 1 and ends with probability 0.5, action 1 pays 0.4 and 0.1."""
    table = {
        0: {
            0: [(0.5, 0, 1.0, False), (0.5, 1, 1.0, True)],
            1: [(0.9, 0, 0.4, False), (0.1, 1, 0.4, True)],
        },
        1: {a: [(1.0, 1, 0.0, True)] for a in range(2)},
    }
    return tabular.from_table(table, [1, 0], 20, [[0, 1]], [(0, 0), (0, 1)])


PROCESSES = {"going_on": going_on, "ending": ending}
# The best actions, and the values: 1/(1 − γ) in state 1, γ·0.8·10/(1 − 0.2γ) in state 0; 0.4/(1 − 0.9γ).
BEST = {"going_on": ([1, 0], [7.2 / 0.82, 10]), "ending": ([1, 0], [0.4 / 0.19, 0])}


def closed_form(name, policy):
    """Action values of a policy [2, 2] by two equations with two unknowns."""
    (a, b), (c, d) = np.asarray(policy)
    if name == "ending":
        v0 = (a * 1 + b * 0.4) / (1 - GAMMA * (a * 0.5 + b * 0.9))
        return np.array([[1 + GAMMA * 0.5 * v0, 0.4 + GAMMA * 0.9 * v0], [0, 0]])
    stay, go = GAMMA, GAMMA * np.array([[0.2, 0.8], [0.8, 0.2]])
    A = np.eye(2) - np.diag([a, c]) * stay - np.array([[b], [d]]) * go
    v = np.linalg.solve(A, [0, c])
    return np.stack([np.array([0, 1]) + stay * v, go @ v], 1)


def soft(name, amount):
    """The best ε-greedy policy: ε spread out, the rest on the best action."""
    return (1 - amount) * np.eye(2)[BEST[name][0]] + amount / 2


RATE = tabular.power_decay(0.6)
CONTROL = {  # and the share of random actions while they learn
    "q_learning": (tabular.q_learning, 1.0),
    "double_q_learning": (tabular.double_q_learning, 1.0),
    "dyna_q": (partial(tabular.dyna_q, planning_steps=2), 1.0),
    "sarsa": (tabular.sarsa, 0.3),
    "expected_sarsa": (tabular.expected_sarsa, 0.3),
}


def trained(learner, num):
    """The last state of five seeds."""

    @jax.jit
    @jax.vmap
    def run(key):
        state = learner.init(key, None)
        return jax.lax.scan(lambda state, _: (learner.step(state, None)[0], None), state, None, num)[0]

    return run(jax.random.split(KEY, 5))


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("method", CONTROL)
def test_control_reaches_the_closed_form(method, name):
    """Off-policy methods find the best values while they act at random; the others those of ε-greedy."""
    make, amount = CONTROL[method]
    state = trained(make(PROCESSES[name](), epsilon(amount), discount=GAMMA, learning_rate=RATE), 10_000)
    off_policy = amount == 1.0
    expected = closed_form(name, soft(name, 0.0 if off_policy else amount))
    if off_policy:
        np.testing.assert_allclose(expected.max(1), BEST[name][1], rtol=1e-6)
    q = state.q if method == "dyna_q" else state.q.mean(1)
    np.testing.assert_allclose(np.median(q, 0), expected, rtol=0.04)


@pytest.mark.parametrize(("name", "first_visit"), [("going_on", True), ("ending", False)])
def test_monte_carlo_reaches_the_closed_form(name, first_visit):
    mdp = PROCESSES[name]()
    control = tabular.monte_carlo_control(mdp, epsilon(0.3), discount=GAMMA, first_visit=first_visit)
    expected = closed_form(name, soft(name, 0.3))
    np.testing.assert_allclose(np.median(trained(control, 3_000).v, 0), expected, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("going_on", partial(tabular.monte_carlo_evaluation, first_visit=False)),
        ("ending", partial(tabular.monte_carlo_evaluation, first_visit=True)),
        ("going_on", partial(tabular.td_lambda, learning_rate=RATE)),
        ("ending", partial(tabular.td_lambda, learning_rate=RATE, lambda_=0.9)),
    ],
    ids=["every_visit", "first_visit", "td_0", "td_lambda"],
)
def test_prediction_reaches_the_closed_form(name, make):
    mdp = PROCESSES[name]()
    learner = make(mdp, mdp.random_policy, discount=GAMMA)
    expected = (np.full((2, 2), 0.5) * closed_form(name, np.full((2, 2), 0.5))).sum(1)
    state = trained(learner, 10_000 if make.func is tabular.td_lambda else 3_000)
    np.testing.assert_allclose(np.median(state.v, 0), expected, rtol=0.04)
    error = learner.evaluate(jax.tree.map(lambda leaf: leaf[0], state), None, KEY)["value_error"]
    alive = 1 if name == "ending" else 2
    np.testing.assert_allclose(error, np.abs(state.v[0] - expected)[:alive], atol=1e-4)


def test_sarsa_is_safe_and_q_learning_is_best_on_the_cliff():
    arguments = {"discount": 1.0, "learning_rate": tabular.power_decay(0.5), "num_episodes": 4}
    methods = {"sarsa": tabular.sarsa, "q_learning": tabular.q_learning}
    learner = side_by_side(
        {name: make(tabular.cliff_walking(), epsilon(0.1), **arguments) for name, make in methods.items()}
    )

    @jax.jit
    def run(key):
        state, metrics = jax.lax.scan(
            lambda state, _: learner.step(state, None), learner.init(key, None), None, 20_000
        )
        return learner.evaluate(state, None, key), {name: each[-5_000:] for name, each in metrics.items()}

    returns, metrics = run(KEY)
    np.testing.assert_array_equal(returns["q_learning/return"], -13)
    np.testing.assert_array_equal(returns["sarsa/return"], -17)
    online = {name: np.nanmean(metrics[f"{name}/episode_return"]) for name in methods}
    assert online["sarsa"] > -30 > online["q_learning"]  # while they explore, it is the other way round


# ---- seeds and resumption


RANDOM = going_on().random_policy
LEARNERS = {
    "sarsa": tabular.sarsa(going_on(), epsilon(0.3), discount=GAMMA, learning_rate=RATE),
    "dyna_q": tabular.dyna_q(going_on(), epsilon(0.3), discount=GAMMA, learning_rate=RATE),
    "monte_carlo_control": tabular.monte_carlo_control(going_on(), epsilon(0.3), discount=GAMMA),
    "td_lambda": tabular.td_lambda(going_on(), RANDOM, discount=GAMMA, learning_rate=RATE, lambda_=0.5),
}


def plain(tree):
    return [
        np.asarray(
            jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        for leaf in jax.tree.leaves(tree)
    ]


@pytest.mark.parametrize("name", LEARNERS)
def test_seeds_at_once_equal_single_runs(name):
    learner = LEARNERS[name]

    def run(learner, key):
        state = learner.init(key, None)
        return jax.lax.scan(lambda state, _: (learner.step(state, None)[0], None), state, None, 30)[0]

    key = jax.random.key(0)  # with "rbg" keys that are mapped over draw something else
    together = plain(jax.jit(partial(run, over_seeds(learner, 2)))(key))
    single = jax.jit(partial(run, learner))
    alone = [plain(single(each)) for each in jax.random.split(key, 2)]
    for a, first, second in zip(together, *alone, strict=True):
        np.testing.assert_allclose(a, np.stack([first, second]), rtol=1e-5)


def test_resuming_equals_going_on(tmp_path):
    """In the middle of an episode, whose time is part of the state."""
    experiment = Experiment(LEARNERS["dyna_q"]._replace(render=None), 50, monitor="length", steps_per_call=5)
    whole = fit(experiment, quiet=True)
    fit(replace(experiment, steps=25), tmp_path, quiet=True)
    resumed = fit(experiment, tmp_path, quiet=True)
    assert resumed.step == 50
    assert int(whole.state.position.t) not in (0, 20)
    for a, b in zip(plain(resumed.state), plain(whole.state), strict=True):
        np.testing.assert_array_equal(a, b)
