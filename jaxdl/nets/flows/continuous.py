"""Continuous flows: data flow to latents along an ordinary differential equation."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.nets.flows.bijector import Bijector, Chain
from jaxdl.nets.flows.coupling import beside
from jaxdl.nets.layers import Dense
from jaxdl.ops.encoding import fourier_features
from jaxdl.types import Array


class VectorField(nn.Module):
    """Give the velocity g(z, t) of a point, by an MLP that sees the time in each layer.

    See Grathwohl et al. (2019), "FFJORD", arXiv:1810.01367.

    Attributes:
        hidden: widths of the hidden layers.
        octaves: of `fourier_features` of the point.
    """

    hidden: tuple[int, ...] = (64, 64)
    octaves: int = 0

    @nn.compact
    def __call__(self, z: Array, t: Array, context: Array | None = None) -> Array:
        """Map [B, D], a time and context [B, C] to [B, D]."""
        time, h = jnp.full((len(z), 1), t, z.dtype), beside(fourier_features(z, self.octaves), context)
        for width in self.hidden:
            h = nn.tanh(Dense(width)(jnp.concatenate([h, time], -1)))
        return Dense(z.shape[-1], kernel_init=nn.initializers.zeros, dtype=jnp.float32)(h)


class Continuous(Bijector):
    """Follow a vector field for one unit of time; what it does to volume is the integral of its divergence.

    dz/dt = g(z, t),  log |det ∂z(1)/∂z(0)| = ∫ tr ∂g/∂z dt over [0, 1];  tr J = E εᵀ J ε, ε = ±1

    The trace is exact, at the cost of D products with the Jacobian, or Hutchinson's estimate from one draw of
    ε for the whole path, at the cost of one. The draw takes a key: apply with `rngs={"trace": key}`.

    See Chen, Rubanova, Bettencourt & Duvenaud (2018), arXiv:1806.07366; Grathwohl et al. (2019),
    arXiv:1810.01367. It is solved by diffrax: `pip install jaxdl[ode]`.

    Attributes:
        hidden: widths of the hidden layers of g.
        octaves: of `fourier_features` of its input.
        exact: whether the trace is exact.
        tolerance: of the solver, relative and absolute.
    """

    hidden: tuple[int, ...] = (64, 64)
    octaves: int = 0
    exact: bool = True
    tolerance: float = 1e-5

    def setup(self) -> None:
        """Make the vector field, at rest at first: the flow starts as the identity."""
        self.field = VectorField(self.hidden, self.octaves)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Follow the field from t = 0 to 1."""
        return self.solve(x, context, 0.0, 1.0)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Follow it back from t = 1 to 0."""
        return self.solve(z, context, 1.0, 0.0)

    def solve(self, z: Array, context: Array | None, start: float, end: float) -> tuple[Array, Array]:
        """Integrate the state (z, log-determinant) over time, all examples in the same steps."""
        diffrax = import_diffrax()
        if self.is_initializing():
            self.field(z, jnp.zeros(()), context)
        field, variables = self.field.unbind()  # the solver is no lifted transform: it takes a pure function
        probes = jnp.eye(z.shape[-1])[:, None] if self.exact else self.signs(z)[None]

        def velocity(t: Array, state: tuple[Array, Array], _: Any) -> tuple[Array, Array]:
            def g(z: Array) -> Array:
                dz: Any = field.apply(variables, z, t, context)
                return dz

            dz, push = jax.linearize(g, state[0])
            # tr J = Σ_d e_dᵀ J e_d exactly, and εᵀ J ε on average
            trace = sum((probe * push(jnp.broadcast_to(probe, z.shape))).sum(-1) for probe in probes)
            return dz, trace

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            start,
            end,
            dt0=None,
            y0=(z, jnp.zeros(len(z))),
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
        )
        (z,), (log_det,) = solution.ys
        return z, log_det

    def signs(self, z: Array) -> Array:
        """Draw ε, [B, D] of ±1."""
        return jax.random.rademacher(self.make_rng("trace"), z.shape, z.dtype)


def import_diffrax() -> Any:
    """Import diffrax, which only continuous flows need.

    Raises:
        ImportError: if it is not installed; says how to install it.
    """
    try:
        import diffrax
    except ImportError as error:
        raise ImportError("a continuous flow needs diffrax: pip install 'jaxdl[ode]'") from error
    return diffrax


def continuous(
    layers: int = 1, hidden: tuple[int, ...] = (64, 64), octaves: int = 0, *, exact: bool = True
) -> Bijector:
    """Build a continuous flow of vectors, with exact traces or estimates; layers are fields followed in turn.

    See Chen et al. (2018), arXiv:1806.07366.
    """
    return Chain(tuple(Continuous(hidden, octaves, exact) for _ in range(layers)))
