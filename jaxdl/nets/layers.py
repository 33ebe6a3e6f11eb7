"""What nets of several families do alike."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdl.ops.convolution import conv_general_dilated, conv_transpose
from jaxdl.ops.dense import dot_general
from jaxdl.types import Array

Dense = partial(nn.Dense, dot_general=dot_general)
Conv = partial(nn.Conv, conv_general_dilated=conv_general_dilated)


class ConvTranspose(nn.Module):
    """Convolve with a fractional stride as flax's layer does, with the same params.

    Attributes:
        features: channels of the result.
        kernel_size: of each spatial axis.
        strides: how much larger the result is.
        padding: SAME or VALID.
        use_bias: whether a bias is added.
        dtype: of the computation; that of the input and params by default.
        kernel_init: first values of the kernel.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str = "SAME"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Any = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, *spatial, C] to [B, *(strides * spatial), features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, self.features) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = conv_transpose(x, kernel, self.strides, self.padding)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def flat(layer: Callable[[Array], Array], x: Array) -> Array:
    """Apply a layer to the vectors of an array [..., D] as to the rows of one matrix.

    The same, but XLA on CPU computes the gradient of the layer's weights, a product of two matrices then and
    else of two stacks of them, twice as fast.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def row_products(x: Array, table: Array) -> Array:
    """Multiply vectors [..., D] by the rows of a table [V, D]: logits [..., V], summed in float32."""
    return flat(lambda x: jnp.einsum("nd,vd->nv", x, table, preferred_element_type=jnp.float32), x)
