"""The product of a dense layer, with a gradient of the weights that is as fast as itself on CPU.

That gradient, dW = xᵀδ, sums over the examples, the rows of both. XLA for CPU runs it at 4 to 60 % of the
speed of y = xW where the layer is narrow, and at 75 % where W is square or has few rows. Here it is (δᵀx)ᵀ
for the narrow layer, and the product of a transposed copy of x for the others (`python benchmarks/dense.py`
measures them). For GPU and TPU, what is lowered is what JAX itself would write
(`jax.lax.platform_dependent`).
"""

from functools import partial
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxdl.types import Array

FEW = 4  # inputs, such as what a task of control observes
MANY = 2**11  # examples from which a copy of x costs more than it gains


def dot_general(
    lhs: Array,
    rhs: Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: Any = None,
) -> Array:
    """Multiply as `jax.lax.dot_general` does, argument by argument, to rounding.

    It goes into flax's layers: `nn.Dense(..., dot_general=dot_general)`. All but the product of two matrices
    in need of another gradient, and all results of a given sharding, are left to JAX.

    Args:
        lhs: x, [B, I].
        rhs: W, [I, O].
        dimension_numbers: which axes are summed over, and which are those of a batch of products.
        precision: of the products.
        preferred_element_type: of the result.
        out_sharding: of the result.

    Returns:
        y = xW, [B, O].
    """
    how = {"precision": precision, "preferred_element_type": preferred_element_type}
    matrices = lhs.ndim == rhs.ndim == 2 and dimension_numbers == (((1,), (0,)), ((), ()))
    if matrices and out_sharding is None:
        inputs, features = rhs.shape
        num = lhs.shape[0]
        few_rows = isinstance(num, int) and num < MANY  # an export's is symbolic
        if 1 < features <= inputs // 2:
            return _dense(lhs, rhs, _narrow, tuple(how.items()))
        if (inputs == features or 1 < inputs <= min(FEW, features)) and few_rows:
            return _dense(lhs, rhs, _copied, tuple(how.items()))
    return lax.dot_general(lhs, rhs, dimension_numbers, **how, out_sharding=out_sharding)


def _native(x: Array, w: Array, **how: Any) -> Array:
    return lax.dot_general(x, w, (((1,), (0,)), ((), ())), **how)


def _narrow(x: Array, w: Array, **how: Any) -> Array:
    """Multiply so that the transpose in w is (δᵀx)ᵀ, which the barrier keeps XLA from turning round."""
    return lax.dot_general(x, lax.optimization_barrier(w.T), (((1,), (1,)), ((), ())), **how)


def _copied(x: Array, w: Array, **how: Any) -> Array:
    """Multiply so that the transpose in w reads a transposed copy of x."""
    return lax.dot_general(lax.optimization_barrier(x.T), w, (((0,), (0,)), ((), ())), **how)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _dense(x: Array, w: Array, form: Any, how: Any) -> Array:
    return _native(x, w, **dict(how))


@partial(_dense.defjvp, symbolic_zeros=True)
def _dense_jvp(form: Any, how: Any, primals: Any, tangents: Any) -> tuple[Array, Any]:
    """y = xW is bilinear: dy = dx W + x dW."""
    (x, w), (dx, dw) = primals, tangents
    native: Any = partial(_native, **dict(how))
    y, parts = _dense(x, w, form, how), []
    if not isinstance(dx, SymbolicZero):
        parts.append(native(dx, w))
    if not isinstance(dw, SymbolicZero):
        # the copy is made in the backward pass, and not kept from the forward one
        fast = jax.checkpoint(partial(form, **dict(how)), prevent_cse=False)
        parts.append(lax.platform_dependent(x, dw, cpu=fast, default=native))
    return y, sum(parts[1:], parts[0])
