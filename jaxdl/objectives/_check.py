"""Shape checks whose failure tells the caller what to do."""

from typing import Any

import chex
import jax.numpy as jnp

from jaxdl.types import Array

_FIX = "an objective sees one example, map it over a batch with jax.vmap"


def check_rank(rank: int | set[int], /, **arrays: Any) -> None:
    """Raise an AssertionError that names the argument and jax.vmap unless each array has this rank."""
    for name, array in arrays.items():
        try:
            chex.assert_rank(array, rank)
        except AssertionError:
            message = f"{name} has shape {jnp.shape(array)}, but rank {rank} is expected: {_FIX}"
            raise AssertionError(message) from None


def check_shape(shape: tuple[int, ...], /, **arrays: Any) -> None:
    """Raise an AssertionError that names the argument unless each array has this shape."""
    check_rank(len(shape), **arrays)
    for name, array in arrays.items():
        if jnp.shape(array) != shape:
            raise AssertionError(f"{name} has shape {jnp.shape(array)}, but {shape} is expected")


def check_same_shape(**arrays: Any) -> None:
    """Raise an AssertionError that names the arguments and jax.vmap unless all shapes are equal."""
    try:
        chex.assert_equal_shape([jnp.asarray(array) for array in arrays.values()])
    except AssertionError:
        shapes = ", ".join(f"{name} {jnp.shape(array)}" for name, array in arrays.items())
        raise AssertionError(f"shapes differ: {shapes}; they must be equal: {_FIX}") from None


def check_label(label: Array, logits: Array) -> None:
    """Raise an AssertionError that says what a label is unless it is a class or class probabilities."""
    is_class = jnp.issubdtype(label.dtype, jnp.integer)
    if label.shape != (() if is_class else logits.shape):
        fix = f"give a class, an integer scalar, or class probabilities, floats {list(logits.shape)}"
        raise AssertionError(f"label is {label.dtype}{list(label.shape)}; {fix}: {_FIX}")
