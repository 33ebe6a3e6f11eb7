import jax
import numpy as np

from jaxdl.ops.encoding import fourier_features


def test_fourier_features_by_hand():
    x = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    expected = [x, np.sin(x), np.sin(2 * x), np.sin(4 * x), np.cos(x), np.cos(2 * x), np.cos(4 * x)]
    features = jax.jit(fourier_features, static_argnums=1)(x, 3)
    np.testing.assert_allclose(features, np.concatenate(expected, -1), atol=1e-6)
    np.testing.assert_array_equal(fourier_features(x, 0), x)


def test_fourier_features_have_the_slopes_of_waves():
    slopes = jax.jacfwd(lambda x: fourier_features(x[None], 2))(np.float32(0.3))
    expected = [1, np.cos(0.3), 2 * np.cos(0.6), -np.sin(0.3), -2 * np.sin(0.6)]
    np.testing.assert_allclose(slopes, expected, rtol=1e-5)
