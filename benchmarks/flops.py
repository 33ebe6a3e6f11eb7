"""Count the floating-point operations of matrix products and convolutions in a JAX function."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def model_flops(function: Callable[..., Any], *args: Any) -> int:
    """Count two operations for each product of a matrix product or convolution, in all steps of a scan.

    Of branches the dearest counts, of `jax.lax.platform_dependent` the last, which is what JAX itself would
    do; of a `while` loop, whose length nobody knows, one round.
    """
    return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        inner = [_of(each) for each in _inside(params.values())]
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            lengths = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * equation.outvars[0].aval.size * math.prod(lengths)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
            zeros = math.prod(params["lhs_dilation"])  # what a transposed one puts between is not multiplied
            total += 2 * equation.outvars[0].aval.size * (kernel.size // features) // zeros
        elif name == "cond":
            total += inner[-1] if params.get("branches_platforms") else max(inner)
        else:
            total += params.get("length", 1) * sum(inner) if name == "scan" else sum(inner)
    return total


def _inside(values: Any) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inside(value)
