"""The state that the shared gradient step carries from step to step."""

from collections.abc import Mapping
from typing import Any

from flax import struct

from jaxdl.types import Array


class TrainState(struct.PyTreeNode):
    """Hold everything that training changes: arrays only, so it donates, scans, shards and restores.

    Attributes:
        step: steps taken, int32 scalar.
        params: {player: pytree}, float32.
        opt_state: {player: optax state}.
        model_state: what is not trained by gradient: batch statistics, target networks, chains.
        key: typed PRNG key of the run. It never changes: the randomness of a step is fold_in(key, step).
        ema_params: debiased moving average of params, or None.
        ema_count: steps averaged, int32 scalar, or None.
    """

    step: Array
    params: Mapping[str, Any]
    opt_state: Mapping[str, Any]
    model_state: Any
    key: Array
    ema_params: Any = None
    ema_count: Any = None
