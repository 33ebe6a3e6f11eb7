"""The gradient step that almost every learner shares: a game of one or more players.

Ordinary training is a game with one player; a GAN has two. Each player owns a part of the params, moves along
the gradient of its own loss with respect to that part only, and players move in the order given.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.train.names import named
from jaxdl.train.state import TrainState
from jaxdl.types import Array, Batch, Key, Learner, LossFn, Metrics, Programs

FLAGS = {"stop": "nonfinite", "skip": "skipped"}  # the metric that tells of a non-finite loss or gradient


class Player(NamedTuple):
    """Name what one player minimises and how it moves: on every step, or on each `every`-th one."""

    loss: LossFn
    optimizer: optax.GradientTransformation
    every: int = 1


class Options(NamedTuple):
    """Choose the options of the shared step, the same for every gradient learner.

    Attributes:
        clip_norm: δ, rescale a gradient g to g·min(1, δ/‖g‖); none by default.
        accumulate: micro-batches that a batch is cut into, to save memory; their gradients are averaged.
        ema: decay d of the moving average of params that evaluation uses; none by default.
        bf16: compute losses and gradients in bfloat16; params, optimizer and batch statistics stay float32,
            and so does what the batch holds of one number per example.
        on_nonfinite: what a non-finite loss or gradient does: "stop" the run, or "skip" and count the update.
    """

    clip_norm: float | None = None
    accumulate: int = 1
    ema: float | None = None
    bf16: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"


def gradient_learner(
    init: Callable[[Key, Batch], tuple[Mapping[str, Any], Any]],
    players: Mapping[str, Player],
    *,
    evaluate: Callable[..., dict[str, Array]],
    render: Callable[..., Mapping[str, Any]] | None = None,
    report: Callable[..., Mapping[str, float]] | None = None,
    check: Callable[..., None] | None = None,
    export: Callable[..., Programs] | None = None,
    options: Options = Options(),
) -> Learner:
    """Build a Learner from losses and optimizers.

    Args:
        init: (key, batch) -> (params, model_state), params keyed by player.
        players: {name: Player}, in the order in which they move.
        evaluate: (params, model_state, batch, key) -> {name: [B]}; it sees the averaged params where kept.
        render: (params, model_state, batch, key) -> {name: picture}.
        report: (params, model_state, data) -> metrics, on the host.
        check: (params, model_state, batch, held) -> None; raises a ValueError for wrong data.
        export: (params, model_state, batch) -> {name: (function of one example, *its inputs [B, ...])}.
        options: of the step.

    Returns:
        The Learner; its state is a TrainState. The step's metrics are those of the losses, and for each
        player (prefixed `name/` where there are several) loss, learning_rate (if the optimizer's state holds
        it, as with those of jaxdl.optim), grad_norm (before clipping), param_norm, update_ratio =
        ‖update‖/‖params‖, and skipped (1 where the loss or gradient was not finite) or nonfinite (the number
        of the first bad leaf there, see `leaf_names`). The metrics of a player that rests on a step are NaN:
        not measured.

    Raises:
        ValueError: for an option or a player out of range.
    """
    _check(players, options)

    def init_state(key: Key, batch: Batch) -> TrainState:
        key_init, key_run = jax.random.split(key)
        params, model_state = _pair(init(key_init, batch), "init", "(params, model_state)")
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state={name: player.optimizer.init(params[name]) for name, player in players.items()},
            model_state=model_state,
            key=key_run,
            ema_params=None if options.ema is None else jax.tree.map(jnp.copy, params),
            ema_count=None if options.ema is None else jnp.zeros((), jnp.int32),
        )

    def step(state: TrainState, batch: Batch, *, axis_name: str | None = None) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        metrics: Metrics = {}
        for index, (name, player) in enumerate(players.items()):
            move = partial(play, name, player, batch, jax.random.fold_in(key, index), axis_name, options)
            if player.every == 1:
                state, own = move(state)
            else:
                moves = state.step % player.every == player.every - 1
                state, own = jax.lax.cond(moves, move, partial(rest, move), state)
            prefix = "" if len(players) == 1 else f"{name}/"
            losses, own = own.pop("losses"), {prefix + key: value for key, value in own.items()}
            if taken := sorted(set(losses) & set(own)):
                fix = "the step gives one of that name: rename it"
                raise ValueError(f"the loss of {name!r} gives a metric {taken[0]!r}, but {fix}")
            metrics |= losses | own
        if options.ema is not None:
            state = average(state, options.ema)
        return state.replace(step=state.step + 1), metrics

    def seen(state: TrainState) -> tuple[Any, Any]:
        return (state.params if options.ema is None else state.ema_params), state.model_state

    return Learner(
        init_state,
        step,
        evaluate=lambda state, batch, key: evaluate(*seen(state), batch, key),
        render=None if render is None else lambda state, batch, key: render(*seen(state), batch, key),
        report=None if report is None else lambda state, data: report(*seen(state), data),
        check=None if check is None else lambda state, batch, held: check(*seen(state), batch, held),
        export=None if export is None else lambda state, batch: export(*seen(state), batch),
    )


def play(
    name: str,
    player: Player,
    batch: Batch,
    key: Key,
    axis_name: str | None,
    options: Options,
    state: TrainState,
) -> tuple[TrainState, dict[str, Any]]:
    """Move one player along its gradient, the other players' params held fixed."""
    own = state.params[name]

    def loss(own: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        params = {**state.params, name: own}
        if options.bf16:
            # one number per example is a target, a weight or a discount, of which 0.99 would become 0.988
            params, batch = to_bfloat16(params), to_bfloat16(batch, least_axes=2)
        what, form = f"the loss of {name!r}", "(loss, (model_state, metrics))"
        value, others = _pair(player.loss(params, model_state, batch, key), what, form)
        model_state, metrics = _pair(others, what, form)
        if value.shape or value.dtype != jnp.float32:
            fix = "reduce it over the batch, and cast the net's outputs to float32 before the objective"
            raise TypeError(
                f"the loss of {name!r} is {value.dtype}{list(value.shape)}, not a float32 scalar: {fix}"
            )
        return value, (model_state, metrics)

    outcome = accumulated_gradient(loss, own, state.model_state, batch, key, options.accumulate)
    if axis_name is not None:
        outcome = jax.tree.map(partial(mean_over_devices, axis_name), outcome)
    value, model_state, losses, grads = outcome
    grad_norm = norm(grads)
    if options.clip_norm is not None:
        scale = options.clip_norm / jnp.maximum(grad_norm, options.clip_norm)  # = min(1, δ/‖g‖), no 0/0
        grads = jax.tree.map(lambda g: g * scale, grads)
    updates, opt_state = player.optimizer.update(grads, state.opt_state[name], own)
    param_norm = norm(own)
    finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
    metrics = {
        "losses": losses,
        "loss": value,
        "grad_norm": grad_norm,
        "param_norm": param_norm,
        "update_ratio": norm(updates) / jnp.maximum(param_norm, 1e-12),
        FLAGS[options.on_nonfinite]: jax.lax.cond(finite, lambda: 0, partial(first_bad_leaf, own, grads))
        if options.on_nonfinite == "stop"
        else ~finite,
    }
    for _, rate in optax.tree.get_all_with_path(opt_state, "learning_rate"):
        if isinstance(rate, Array):  # and not the state of a schedule, which has the same name
            metrics["learning_rate"] = rate
    moved = (optax.apply_updates(own, updates), opt_state, model_state)
    if options.on_nonfinite == "skip":
        kept = (own, state.opt_state[name], state.model_state)
        moved = jax.tree.map(partial(jnp.where, finite), moved, kept)
    params, opt_state, model_state = moved
    state = state.replace(
        params={**state.params, name: params},
        opt_state={**state.opt_state, name: opt_state},
        model_state=model_state,
    )
    return state, jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), metrics)


def accumulated_gradient(
    loss: Callable[..., Any], params: Any, model_state: Any, batch: Batch, key: Key, num_micro: int
) -> tuple[Array, Any, Metrics, Any]:
    """Average loss, metrics and gradient over micro-batches, one in memory at a time.

    Equals the big batch for losses that are means over examples; model_state passes from one to the next.

    Returns:
        (loss, model_state, metrics, gradient).

    Raises:
        ValueError: if the batch does not divide into num_micro parts.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    if num_micro == 1:
        (value, (model_state, metrics)), grads = gradient(params, model_state, batch, key)
        return value, model_state, metrics, grads

    def cut(leaf: Array) -> Array:
        size, left_over = divmod(len(leaf), num_micro)
        if left_over:
            message = (
                f"a batch of {len(leaf)} on this device does not divide into accumulate={num_micro} parts"
            )
            raise ValueError(f"{message}; give a multiple of {num_micro} as batch size")
        return leaf.reshape(num_micro, size, *leaf.shape[1:])

    def add(carry: Any, micro: Any) -> tuple[Any, Any]:
        model_state, total = carry
        micro_batch, index = micro
        (value, (model_state, metrics)), grads = gradient(
            params, model_state, micro_batch, jax.random.fold_in(key, index)
        )
        return (model_state, jax.tree.map(jnp.add, total, grads)), (value, metrics)

    zeros = jax.tree.map(jnp.zeros_like, params)
    micros = (jax.tree.map(cut, batch), jnp.arange(num_micro))
    (model_state, total), stacked = jax.lax.scan(add, (model_state, zeros), micros)
    value, metrics = jax.tree.map(lambda leaf: leaf.mean(0), stacked)
    return value, model_state, metrics, jax.tree.map(lambda leaf: leaf / num_micro, total)


def norm(tree: Any) -> Array:
    """Return ‖tree‖₂ by a pass of its own: on CPU, XLA would write the squares that Adam shares to memory."""
    alone = jax.lax.optimization_barrier
    return optax.tree.norm(jax.lax.platform_dependent(tree, cpu=alone, default=lambda tree: tree))


def first_bad_leaf(params: Any, grads: Any) -> Array:
    """Number the first array that is not finite among params, then gradients, then the loss, from 1."""
    norms = jnp.stack([optax.tree.norm(leaf) for leaf in jax.tree.leaves((params, grads))])
    bad = jnp.append(~jnp.isfinite(norms), True)
    return 1 + bad.argmax()


def leaf_names(state: Any) -> dict[str, list[str]]:
    """Name what `nonfinite` numbers, for each prefix of a metric; only a TrainState has it."""
    params = state.params if isinstance(state, TrainState) else {}
    names = {}
    for player, own in params.items():
        leaves = list(named({"params": {player: own}}))
        gradients = [f"the gradient of {leaf}" for leaf in leaves]
        names["" if len(params) == 1 else f"{player}/"] = [*leaves, *gradients, "the loss itself"]
    return names


def mean_over_steps(metrics: Mapping[str, Array]) -> Metrics:
    """Merge the metrics [k] of several gradient steps into those of one: averages of what was measured.

    Of `nonfinite`, which numbers a leaf, the first that is not zero is kept.
    """

    def merge(name: str, values: Array) -> Array:
        if name.split("/")[-1] == FLAGS["stop"]:
            return values[(values > 0).argmax()]
        return jnp.nanmean(values)

    return {name: merge(name, values) for name, values in metrics.items()}


def mean_over_devices(axis_name: str, leaf: Array) -> Array:
    """Average a floating-point array; counts and keys are the same on all devices already."""
    return jax.lax.pmean(leaf, axis_name) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def rest(move: Callable[..., Any], state: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """Leave the state as it is; the metrics of the move not made are NaN, and nothing is non-finite."""
    metrics = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan), jax.eval_shape(move, state)[1])
    return state, metrics | {name: jnp.zeros(()) for name in FLAGS.values() if name in metrics}


def average(state: TrainState, decay: float) -> TrainState:
    """Update the debiased moving average of params.

    a_t = Σᵢ dᵗ⁻ⁱ pᵢ / Σᵢ dᵗ⁻ⁱ = a_{t-1} + (1 - d)/(1 - dᵗ)·(p_t - a_{t-1})
    """
    count = state.ema_count + 1
    weight = (1 - decay) / (1 - decay ** count.astype(jnp.float32))
    ema_params = optax.incremental_update(state.params, state.ema_params, weight)
    return state.replace(ema_params=ema_params, ema_count=count)


def to_bfloat16(tree: Any, least_axes: int = 0) -> Any:
    """Cast the floating-point arrays of a tree, or those of so many axes, to bfloat16."""

    def cast(leaf: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return leaf.astype(jnp.bfloat16) if floating and jnp.ndim(leaf) >= least_axes else leaf

    return jax.tree.map(cast, tree)


def _pair(given: Any, what: str, form: str) -> tuple[Any, Any]:
    """Return what a function gave, if it is a pair."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"{what} must give {form}")
    return given[0], given[1]


def _check(players: Mapping[str, Player], options: Options) -> None:
    for name, player in players.items():
        if player.every < 1:
            raise ValueError(f"player {name!r} has every={player.every}; give 1 or more")
    if options.clip_norm is not None and not options.clip_norm > 0:
        raise ValueError(f"clip_norm is {options.clip_norm}; give a number above 0")
    if options.accumulate < 1:
        raise ValueError(f"accumulate is {options.accumulate}; give 1 or more")
    if options.ema is not None and not 0 <= options.ema < 1:
        raise ValueError(f"ema is {options.ema}; give a decay in [0, 1)")
    if options.on_nonfinite not in ("stop", "skip"):
        raise ValueError(f"on_nonfinite is {options.on_nonfinite!r}; choose stop or skip")
