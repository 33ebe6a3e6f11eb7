"""Linear autoregression of a time series on its last values."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.types import Array


class AR(nn.Module):
    """Compute the normal p(x_t | x_{t−p} … x_{t−1}) of each step of a series.

    x_t = b_0 + Σ_{i=1}^p b_i x_{t−i} + σ ε_t,  ε_t ~ N(0, 1)

    Maximum likelihood of the b is least squares.

    See Yule (1927), "On a Method of Investigating Periodicities in Disturbed Series".

    Attributes:
        order: p.
    """

    order: int

    @nn.compact
    def __call__(self, x: Array, context: Array) -> Array:
        """Map x [B, T] and the p values before it, [B, p], to mean and log_std, [B, T, 2]."""
        zeros = nn.initializers.zeros
        b_0, b = self.param("b_0", zeros, ()), self.param("b", zeros, (self.order,))
        log_std = self.param("log_std", zeros, ())
        series, (_, steps) = jnp.concatenate([context, x], -1).astype(jnp.float32), x.shape
        lags = [series[:, self.order - i :][:, :steps] for i in range(1, self.order + 1)]
        mean = b_0 + jnp.stack(lags, -1) @ b
        return jnp.stack([mean, jnp.full(mean.shape, log_std)], -1).astype(jnp.float32)


def companion(b: Array) -> Array:
    """Return the matrix F [p, p] of (x_t, …, x_{t−p+1}) = F (x_{t−1}, …, x_{t−p}) + …, for b [p]."""
    return jnp.concatenate([b[None], jnp.eye(len(b))[:-1]])


def is_stationary(b: np.ndarray) -> bool:
    """Tell whether what was is forgotten: whether all |eigenvalues| of `companion` are below 1."""
    return bool(np.abs(np.linalg.eigvals(companion(jnp.asarray(b)))).max() < 1)


def forecast(b_0: Array, b: Array, log_std: Array, past: Array, steps: int) -> tuple[Array, Array]:
    """Predict the steps after a series: the mean and the standard deviation of each, given the past.

    E[x_{t+k}] = b_0 + Σ_i b_i E[x_{t+k−i}],  Var[x_{t+k}] = σ² Σ_{j<k} ψ_j²,  ψ_j = (F^j)_{11}

    See Box & Jenkins (1970), "Time Series Analysis: Forecasting and Control".

    Args:
        b_0: scalar.
        b: [p].
        log_std: scalar, log σ.
        past: [p], the last values, in the order of time.
        steps: K.

    Returns:
        mean and std, [K].
    """
    f = companion(b)

    State = tuple[Array, Array, Array]  # the newest values first; F^j e_1; Var[x_{t+k}]/σ²

    def step(state: State, _: None) -> tuple[State, tuple[Array, Array]]:
        last, response, variance = state
        last = (f @ last).at[0].add(b_0)
        variance += response[0] ** 2
        return (last, f @ response, variance), (last[0], jnp.exp(log_std) * jnp.sqrt(variance))

    start = past[::-1], jnp.eye(len(b))[0], jnp.zeros(())
    return jax.lax.scan(step, start, None, length=steps)[1]
