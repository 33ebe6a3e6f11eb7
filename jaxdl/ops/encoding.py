"""Encodings of coordinates, by which a net can learn functions that change fast."""

import jax.numpy as jnp

from jaxdl.types import Array


def fourier_features(x: Array, octaves: int) -> Array:
    """Put sines and cosines of each coordinate beside it, each frequency twice the one before.

    γ(x) = [x, sin x, …, sin 2^{L−1} x, cos x, …, cos 2^{L−1} x]

    See Tancik et al. (2020), arXiv:2006.10739; Mildenhall et al. (2020), arXiv:2003.08934.

    Args:
        x: [..., D].
        octaves: L; 0 leaves x as it is.

    Returns:
        [..., (1 + 2 L) D], blocks of D.
    """
    waves = [2.0**octave * x for octave in range(octaves)]
    return jnp.concatenate([x, *map(jnp.sin, waves), *map(jnp.cos, waves)], -1)
