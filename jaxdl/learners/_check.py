"""Checks of the data that learners share: they see every value that the host knows, before anything runs."""

import jax.numpy as jnp
import numpy as np

from jaxdl.types import Array


def check_classes(name: str, batch: Array, rank: int, held: np.ndarray | None, size: int) -> None:
    """Raise a ValueError unless an array of the batch holds classes: integers of 0 .. size - 1.

    Args:
        name: of the array.
        batch: the array, of which shape and dtype are known.
        rank: axes that it must have, the batch's included.
        held: its values [N, ...] in the whole data set, where they are known.
        size: of the net's output.
    """
    if batch.ndim != rank or not jnp.issubdtype(batch.dtype, jnp.integer):
        axes = ", ".join("BTUV"[:rank])
        raise ValueError(f"{name} is {batch.dtype}{list(batch.shape)}; give integers [{axes}]")
    if held is None or (held.min() >= 0 and held.max() < size):
        return
    example, *place = np.argwhere((held < 0) | (held >= size))[0]
    value = held[(example, *place)]
    raise ValueError(f"{name} is {value} in example {example}; the net tells {size} apart, 0 to {size - 1}")


def check_interval(name: str, held: np.ndarray | None, low: float, high: float) -> None:
    """Raise a ValueError unless the values of an array, where they are known, lie in [low, high]."""
    if held is None or (held.min() >= low and held.max() <= high):
        return
    example, *place = np.argwhere(~((held >= low) & (held <= high)))[0]
    value = held[(example, *place)]
    raise ValueError(f"{name} is {value} in example {example}; rescale it to [{low:g}, {high:g}]")
