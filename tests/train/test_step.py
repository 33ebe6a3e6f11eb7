"""The shared gradient step against plain definitions of what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optim
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.train.step import leaf_names, mean_over_steps, norm, to_bfloat16

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32) + 0.3
BATCH = {"x": X, "y": Y}


def init(key, batch):
    return {"model": {"w": jnp.ones(3), "b": jnp.zeros(())}}, {"seen": jnp.zeros(())}


def squared_error(params, model_state, batch, key):
    error = batch["x"] @ params["model"]["w"] + params["model"]["b"] - batch["y"]
    seen = model_state["seen"] + len(batch["y"])
    return (error**2).mean().astype(jnp.float32), ({"seen": seen}, {"mae": jnp.abs(error).mean()})


def numpy_gradient(w, b, x=X, y=Y):
    error = x @ w + b - y
    return 2 * error @ x / len(y), 2 * error.mean()


def learner_of(loss=squared_error, optimizer=None, options=Options(), init=init):
    players = {"model": Player(loss, optimizer or optax.sgd(0.1))}
    return gradient_learner(init, players, evaluate=lambda *args: {}, options=options)


def run(learner, num_steps, batch=BATCH, seed=0):
    state = learner.init(jax.random.key(seed), batch)
    step, metrics = jax.jit(learner.step), {}
    for _ in range(num_steps):
        state, metrics = step(state, batch)
    return state, metrics


def test_sgd_is_sgd():
    state, metrics = run(learner_of(optimizer=optim.sgd(0.1)), 2)
    w, b = np.ones(3), 0.0
    for _ in range(2):
        gradient_w, gradient_b = numpy_gradient(w, b)
        before = np.append(w, b)
        w, b = w - 0.1 * gradient_w, b - 0.1 * gradient_b
    np.testing.assert_allclose(state.params["model"]["w"], w, rtol=1e-5)
    np.testing.assert_allclose(state.params["model"]["b"], b, rtol=1e-5)
    norm = np.linalg.norm(np.append(gradient_w, gradient_b))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(metrics["param_norm"], np.linalg.norm(before), rtol=1e-5)
    np.testing.assert_allclose(metrics["update_ratio"], 0.1 * norm / np.linalg.norm(before), rtol=1e-5)
    np.testing.assert_allclose(metrics["learning_rate"], 0.1, rtol=1e-6)
    assert metrics["nonfinite"] == 0
    assert state.step == 2
    assert state.model_state["seen"] == 16


@pytest.mark.parametrize("delta", [0.5, 1e3], ids=["clips", "leaves"])
def test_clipping_rescales_by_min_one_delta_over_norm(delta):
    state, metrics = run(learner_of(options=Options(clip_norm=delta)), 1)
    gradient = np.append(*numpy_gradient(np.ones(3), 0.0))
    norm = np.linalg.norm(gradient)
    expected = np.append(np.ones(3), 0.0) - 0.1 * gradient * min(1, delta / norm)
    got = np.append(state.params["model"]["w"], state.params["model"]["b"])
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)  # before clipping


def test_clipping_keeps_a_zero_gradient():
    zero = {"x": np.zeros((2, 3), np.float32), "y": np.zeros(2, np.float32)}
    state, _ = run(learner_of(options=Options(clip_norm=1.0)), 1, zero)
    np.testing.assert_array_equal(state.params["model"]["w"], np.ones(3))


def test_accumulated_gradient_equals_the_big_batch():
    whole, whole_metrics = run(learner_of(), 3)
    parts, parts_metrics = run(learner_of(options=Options(accumulate=4)), 3)
    np.testing.assert_allclose(parts.params["model"]["w"], whole.params["model"]["w"], rtol=1e-5)
    np.testing.assert_allclose(parts_metrics["loss"], whole_metrics["loss"], rtol=1e-5)
    np.testing.assert_allclose(parts_metrics["mae"], whole_metrics["mae"], rtol=1e-5)
    assert parts.model_state["seen"] == whole.model_state["seen"] == 24  # the state passes through the parts


def test_accumulation_that_does_not_divide_names_what_would():
    with pytest.raises(ValueError, match=r"batch of 8 .*accumulate=3.*multiple of 3"):
        run(learner_of(options=Options(accumulate=3)), 1)


def test_ema_is_the_debiased_average():
    decay, learner = 0.9, learner_of(options=Options(ema=0.9))
    state = learner.init(jax.random.key(0), BATCH)
    step, history = jax.jit(learner.step), []
    for _ in range(5):
        state, _ = step(state, BATCH)
        history.append(np.asarray(state.params["model"]["w"]))
    weights = decay ** np.arange(4, -1, -1.0)
    expected = (weights[:, None] * history).sum(0) / weights.sum()
    np.testing.assert_allclose(state.ema_params["model"]["w"], expected, rtol=1e-5)
    assert state.ema_count == 5
    assert not np.allclose(expected, history[-1], rtol=1e-3)


def test_evaluation_sees_the_averaged_params():
    def evaluate(params, model_state, batch, key):
        return {"w": jnp.full(len(batch["y"]), params["model"]["w"][0])}

    players = {"model": Player(squared_error, optax.sgd(0.1))}
    for options in (Options(), Options(ema=0.99)):
        learner = gradient_learner(init, players, evaluate=evaluate, options=options)
        state, _ = run(learner, 3)
        seen = state.params if options.ema is None else state.ema_params
        np.testing.assert_array_equal(learner.evaluate(state, BATCH, None)["w"][0], seen["model"]["w"][0])


def test_norms_are_taken_by_a_pass_of_their_own_on_cpu_only():
    tree = {"a": np.float32([3.0, 0.0]), "b": np.float32(4.0)}
    np.testing.assert_allclose(jax.jit(norm)(tree), 5.0, rtol=1e-6)
    lowered = {
        on: jax.jit(norm).trace(tree).lower(lowering_platforms=(on,)).as_text() for on in ("cpu", "cuda")
    }
    assert {on: "optimization_barrier" in text for on, text in lowered.items()} == {
        "cpu": True,
        "cuda": False,
    }


def test_bfloat16_computes_in_bfloat16_and_keeps_float32():
    seen = {}

    def loss(params, model_state, batch, key):
        seen.update(
            jax.tree.map(lambda leaf: leaf.dtype, {"params": params, "batch": batch, "state": model_state})
        )
        return squared_error(params, model_state, batch, key)

    batch = {**BATCH, "label": np.arange(8)}
    state, metrics = run(learner_of(loss, optax.adam(0.1), Options(bf16=True)), 1, batch)
    assert seen["params"]["model"]["w"] == seen["batch"]["x"] == jnp.bfloat16
    assert seen["batch"]["label"] == jnp.int32  # labels are not rounded
    assert seen["batch"]["y"] == jnp.float32  # nor are numbers such as the discount of a transition
    assert seen["state"]["seen"] == jnp.float32  # nor are batch statistics
    kept = jax.tree.leaves((state.params, state.opt_state, state.model_state, metrics))
    assert {leaf.dtype for leaf in kept if jnp.issubdtype(leaf.dtype, jnp.floating)} == {jnp.dtype("float32")}
    # The gradient is that of the rounded problem.
    x = np.asarray(to_bfloat16(jnp.asarray(X)), np.float32)
    rough, _ = numpy_gradient(np.ones(3), 0.0, x, Y)
    np.testing.assert_allclose(
        metrics["grad_norm"], np.linalg.norm(np.append(rough, 2 * (x @ np.ones(3) - Y).mean())), rtol=2e-2
    )


def test_a_loss_that_is_not_float32_is_refused():
    def loss(params, model_state, batch, key):
        value, aux = squared_error(params, model_state, batch, key)
        return value.astype(jnp.bfloat16), aux

    with pytest.raises(TypeError, match=r"loss of 'model' is bfloat16.*float32"):
        run(learner_of(loss), 1)


def test_a_loss_per_example_is_refused():
    def loss(params, model_state, batch, key):
        return jnp.zeros(8), (model_state, {})

    with pytest.raises(TypeError, match=r"float32\[8\].*reduce it over the batch"):
        run(learner_of(loss), 1)


def poisoned(params, model_state, batch, key):
    value, aux = squared_error(params, model_state, batch, key)
    return value + jnp.where(batch["x"][0, 0] > 1e3, jnp.nan, 0.0), aux


def only_gradient(params, model_state, batch, key):
    value, aux = squared_error(params, model_state, batch, key)
    bad = batch["x"][0, 0] > 1e3
    # sqrt(0): the value is finite, its gradient is not
    return value + jnp.sqrt(jnp.where(bad, 0.0 * params["model"]["b"], 1.0)), aux


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_skip_drops_a_bad_update_and_counts_it(where):
    loss = poisoned if where == "loss" else only_gradient
    learner = learner_of(loss, optax.adam(0.1), Options(on_nonfinite="skip"))
    before, metrics = run(learner, 1)
    assert metrics["skipped"] == 0
    bad = {"x": X.copy(), "y": Y}
    bad["x"][0, 0] = 1e4
    after, metrics = jax.jit(learner.step)(before, bad)
    assert metrics["skipped"] == 1
    kept = ("params", "opt_state", "model_state")
    jax.tree.map(
        np.testing.assert_array_equal, [getattr(before, k) for k in kept], [getattr(after, k) for k in kept]
    )
    assert after.step == before.step + 1  # the data goes on


@pytest.mark.parametrize(
    ("loss", "spoilt", "leaf"),
    [
        (poisoned, {}, "the loss itself"),
        (only_gradient, {}, "the gradient of params.model.b"),
        (squared_error, {"w": jnp.array([1.0, jnp.inf, 1.0])}, "params.model.w"),
    ],
    ids=["loss", "gradient", "params"],
)
def test_stop_numbers_the_first_bad_leaf(loss, spoilt, leaf):
    learner = learner_of(loss)
    bad = {"x": np.full((8, 3), 1e4, np.float32), "y": Y}
    state = learner.init(jax.random.key(0), bad)
    state = state.replace(params={"model": {**state.params["model"], **spoilt}})
    _, metrics = learner.step(state, bad)
    assert leaf_names(state)[""][int(metrics["nonfinite"]) - 1] == leaf


def test_metrics_of_several_steps_are_merged():
    metrics = {"loss": jnp.array([1.0, jnp.nan, 3.0]), "a/nonfinite": jnp.array([0.0, 5.0, 2.0])}
    assert mean_over_steps(metrics) == {"loss": 2.0, "a/nonfinite": 5.0}


def test_leaves_are_named_by_player():
    names = leaf_names(game().init(jax.random.key(0), None))
    assert names["x/"] == ["params.x", "the gradient of params.x", "the loss itself"]
    assert names["y/"] == ["params.y", "the gradient of params.y", "the loss itself"]
    assert leaf_names({"params": {"w": jnp.zeros(2)}}) == {}


# ---- several players


def game(generator_every=1, options=Options()):
    def loss_of(name, sign):
        def loss(params, model_state, batch, key):
            product = (params["x"] * params["y"]).sum()
            return sign * product, ({**model_state, name: model_state[name] + 1}, {})

        return loss

    def init(key, batch):
        return {"x": jnp.array([1.0]), "y": jnp.array([2.0])}, {"x": jnp.zeros(()), "y": jnp.zeros(())}

    players = {
        "x": Player(loss_of("x", 1.0), optim.sgd(0.1)),
        "y": Player(loss_of("y", -1.0), optim.sgd(0.1), every=generator_every),
    }
    return gradient_learner(init, players, evaluate=lambda *args: {}, options=options)


def test_players_move_in_turn_each_by_its_own_gradient():
    state, metrics = run(game(), 3, None)
    x, y = 1.0, 2.0
    for _ in range(3):
        x = x - 0.1 * y
        y = y + 0.1 * x  # after x has moved
    np.testing.assert_allclose([state.params["x"][0], state.params["y"][0]], [x, y], rtol=1e-5)
    assert {"x/loss", "y/loss", "x/learning_rate", "y/grad_norm"} <= set(metrics)


def test_every_moves_a_player_on_each_nth_step_only():
    learner = game(generator_every=3)
    state = learner.init(jax.random.key(0), None)
    step, moves = jax.jit(learner.step), []
    for _ in range(7):
        before = state.params["y"]
        state, metrics = step(state, None)
        moves.append(bool(state.params["y"] != before))
        assert bool(np.isnan(metrics["y/loss"])) != moves[-1]  # NaN says: not measured
        assert metrics["y/nonfinite"] == 0
    assert moves == [False, False, True, False, False, True, False]
    assert state.model_state == {"x": 7, "y": 2}


def test_randomness_depends_on_key_and_step_only():
    def loss(params, model_state, batch, key):
        noise = jax.random.normal(key)
        return noise * params["model"]["b"], (model_state, {"noise": noise})

    learner = learner_of(loss)
    first, one = run(learner, 1)
    second, two = jax.jit(learner.step)(first, BATCH)
    _, again = jax.jit(learner.step)(first, BATCH)
    assert two["noise"] == again["noise"] != one["noise"]
    np.testing.assert_array_equal(jax.random.key_data(first.key), jax.random.key_data(second.key))


def test_the_state_holds_arrays_only_and_does_not_retrace():
    learner = learner_of(optimizer=optim.adam(0.1), options=Options(ema=0.9, clip_norm=1.0))
    step = jax.jit(learner.step)
    state = learner.init(jax.random.key(0), BATCH)
    for _ in range(3):
        state, _ = step(state, BATCH)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert step._cache_size() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(clip_norm=0.0), "clip_norm is 0.0"),
        (Options(clip_norm=-1.0), "clip_norm is -1.0"),
        (Options(accumulate=0), "accumulate is 0"),
        (Options(ema=1.0), "ema is 1.0"),
        (Options(on_nonfinite="ignore"), "on_nonfinite is 'ignore'"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        learner_of(options=options)


def test_every_out_of_range_is_refused():
    with pytest.raises(ValueError, match="'y' has every=0"):
        game(generator_every=0)
