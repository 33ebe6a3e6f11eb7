"""Attention against a loop in numpy and jax.nn's own, and where it goes to cuDNN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxdl.ops.attention import attention

RNG = np.random.default_rng(0)
B, T, S, H, D = 2, 5, 5, 3, 4


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("causal", "T", "S"), [(True, 5, 5), (False, 5, 5), (False, 3, 6)])
def test_value_equals_numpy(causal, T, S):
    q, k, v = drawn(B, T, H, D), drawn(B, S, H, D), drawn(B, S, H, D)
    expected = np.zeros((B, T, H, D))
    for b, t, h in np.ndindex(B, T, H):
        seen = t + 1 if causal else S
        weights = softmax(k[b, :seen, h] @ q[b, t, h] / np.sqrt(D))
        expected[b, t, h] = weights @ v[b, :seen, h]
    ours = jax.jit(partial(attention, causal=causal))(q, k, v)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_gradient_equals_that_of_jax(causal):
    arrays, weights = [drawn(B, T, H, D) for _ in range(3)], drawn(B, T, H, D)

    def slopes(f):
        return jax.jit(jax.grad(lambda *arrays: (f(*arrays) * weights).sum(), (0, 1, 2)))(*arrays)

    theirs = slopes(partial(jax.nn.dot_product_attention, is_causal=causal))
    for a, b in zip(slopes(partial(attention, causal=causal)), theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_weights_are_found_in_float32_and_huge_logits_stay_finite():
    # 257 and 256 differ by 1, which the 8 bits of bfloat16 do not hold.
    q = jnp.array([16.0, 1.0], jnp.bfloat16).reshape(1, 1, 1, 2)
    k = jnp.array([[16.0, 1.0], [16.0, 0.0]], jnp.bfloat16).reshape(1, 2, 1, 2)
    v = jnp.array([1.0, 0.0], jnp.bfloat16).reshape(1, 2, 1, 1)
    y = attention(q, k, v, causal=False)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32).ravel(), 1 / (1 + np.exp(-1 / np.sqrt(2))), rtol=1e-2)
    q, k, v = (scale * drawn(1, T, 1, D) for scale in (1e4, 1e4, 1.0))
    value, slopes = jax.value_and_grad(lambda *a: attention(*a, causal=True).sum(), (0, 1, 2))(q, k, v)
    assert all(np.isfinite(leaf).all() for leaf in (value, *slopes))


@pytest.mark.parametrize(
    ("backend", "dtype", "head", "implementation"),
    [
        ("gpu", jnp.bfloat16, 64, "cudnn"),
        ("gpu", jnp.float16, 128, "cudnn"),
        ("gpu", jnp.float32, 64, None),
        ("gpu", jnp.bfloat16, 60, None),
        ("gpu", jnp.bfloat16, 256, None),
        ("tpu", jnp.bfloat16, 64, None),
        ("cpu", jnp.bfloat16, 64, None),
    ],
)
def test_half_precision_goes_to_cudnn_on_a_gpu(monkeypatch, backend, dtype, head, implementation):
    asked = []

    def fused(q, k, v, *, is_causal, implementation):
        asked.append((is_causal, implementation))
        return q

    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax.nn, "dot_product_attention", fused)
    x = jax.ShapeDtypeStruct((1, 8, 2, head), dtype)
    y = jax.eval_shape(partial(attention, causal=True), x, x, x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert asked == ([] if implementation is None else [(True, implementation)])
