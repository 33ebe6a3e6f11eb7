"""The names that every part of jaxdl shares. No logic lives here."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array  # a typed PRNG key, made by jax.random.key
PyTree: TypeAlias = Any
Batch: TypeAlias = Any  # a pytree of arrays [B, ...]; None for learners that draw their own experience
Metrics: TypeAlias = dict[str, Array]  # flat, scalars; NaN says "not measured", except of a loss
Picture: TypeAlias = Any  # [H, W], [H, W, 3] or frames [T, H, W, 3] in [0, 1]; or a str: text
# {name: (function of ONE example, *its inputs, [B, ...] each)}; of an input only shape and dtype count
Programs: TypeAlias = Mapping[str, tuple[Any, ...]]

# (params, model_state, batch, key) -> (loss, (model_state, metrics))
LossFn: TypeAlias = Callable[[Any, Any, Any, Any], tuple[Array, tuple[Any, Metrics]]]


class Learner(NamedTuple):
    """Nets, objectives and an optimizer, closed over in a few pure functions.

    The state is any pytree of arrays. `batch` is None for a learner that draws its own experience.
    """

    init: Callable[..., Any]  # (key, batch) -> state
    step: Callable[..., tuple[Any, Metrics]]  # (state, batch, *, axis_name=None) -> (state, metrics)
    evaluate: Callable[..., dict[str, Array]]  # (state, batch, key) -> {name: [B]}, one value per example
    render: Callable[..., Mapping[str, Picture]] | None = None  # (state, batch, key) -> {name: picture}
    report: Callable[..., Mapping[str, float]] | None = None  # (state, data) -> metrics, on the host
    # (state, batch, held) -> None: raises a ValueError if the data are not what they must be. State and batch
    # are traced: they have shapes and dtypes. What is held is values that the host knows: `Batches.held`.
    check: Callable[..., None] | None = None
    export: Callable[..., Programs] | None = None  # (state, batch) -> what a finished run is good for
