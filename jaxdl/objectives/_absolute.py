"""The absolute value of what is to become zero."""

import jax.numpy as jnp

from jaxdl.types import Array


def absolute(x: Array) -> Array:
    """Return |x| with slope 0 at 0; that of jnp.abs is 1, which pushes away what is already right."""
    return x * jnp.sign(x)
