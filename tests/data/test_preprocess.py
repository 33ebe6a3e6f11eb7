import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from jaxdl.data.preprocess import (
    Moments,
    binarize,
    moments,
    mu_law,
    mu_law_inverse,
    pca_whitening,
    quantize,
    random_split,
    rescale,
    standardize,
    whiten,
    zca_whitening,
)

rng = np.random.default_rng(0)
TRAIN = (rng.standard_normal((200, 4)) @ rng.standard_normal((4, 4)) + [5, -2, 0, 100]).astype(np.float32)
TEST = TRAIN[:7] * 1.5


def test_rescale_maps_the_training_interval():
    np.testing.assert_allclose(rescale(np.array([2, 3, 6]), 2, 6), [0, 0.25, 1])
    np.testing.assert_allclose(rescale(np.array([2, 3, 6]), 2, 6, to=(-1, 1)), [-1, -0.5, 1])


def test_rescale_goes_beyond_the_interval_where_the_data_does():
    x = np.array([0, 100, 250], np.uint8)  # 0 - 100 wraps round in uint8
    np.testing.assert_allclose(rescale(x, np.uint8(100), np.uint8(200)), [-1, 0, 1.5])


def test_rescale_sends_a_constant_feature_to_the_lower_end():
    train = np.array([[1, 7], [3, 7]])
    found = rescale(train, train.min(axis=0), train.max(axis=0), to=(-1, 1))
    np.testing.assert_array_equal(found, [[-1, -1], [1, -1]])


def test_rescale_agrees_with_scikit_learn():
    expected = MinMaxScaler((-2, 3)).fit(TRAIN).transform(TEST)
    found = rescale(TEST, TRAIN.min(axis=0), TRAIN.max(axis=0), to=(-2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_moments_divide_by_the_number_of_examples():
    mean, std = moments(np.array([[1, 0], [2, 0], [3, 4], [6, 4]], np.uint8))
    np.testing.assert_allclose(mean, [3, 2])  # a sum without 1/n would be [12, 8]
    np.testing.assert_allclose(std, [np.sqrt(14 / 4), 2])
    assert mean.dtype == std.dtype == np.float32


def test_moments_of_channels_average_over_all_pixels():
    image = rng.integers(0, 256, (5, 4, 3, 2), np.uint8)
    mean, std = moments(image, axis=(0, 1, 2))
    for channel in range(2):
        values = [int(value) for value in image[..., channel].ravel()]
        expected = sum(values) / 60
        np.testing.assert_allclose(mean[channel], expected, rtol=1e-6)
        np.testing.assert_allclose(
            std[channel] ** 2, sum((v - expected) ** 2 for v in values) / 60, rtol=1e-6
        )


def test_moments_are_accurate_far_from_zero():
    mean, std = moments(np.float32(1e6) + np.array([[0, 1], [1, 0]] * 5_000, np.float32))
    np.testing.assert_array_equal(mean, 1e6 + 0.5)
    np.testing.assert_allclose(std, 0.5, rtol=1e-6)


def test_a_constant_feature_becomes_zero():
    train = np.full((3, 1), 0.1)
    assert train.std() > 0  # by rounding
    fitted = moments(train)
    assert fitted.std == 1
    np.testing.assert_allclose(standardize(train, fitted), 0, atol=1e-7)


def test_standardize_uses_the_statistics_of_training():
    expected = StandardScaler().fit(TRAIN).transform(TEST)
    np.testing.assert_allclose(standardize(TEST, moments(TRAIN)), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        standardize(np.array([[7, 1]]), Moments(np.array([3, 2]), np.array([2, 4]))), [[2, -0.25]]
    )


def test_standardize_runs_inside_a_compiled_step():
    fitted = moments(TRAIN)
    expected = standardize(TEST, fitted)
    np.testing.assert_allclose(jax.jit(standardize)(TEST, fitted), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        jax.vmap(lambda x: standardize(x, fitted))(TEST), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("fit", [pca_whitening, zca_whitening])
def test_whitened_training_data_has_the_identity_as_covariance(fit):
    y = whiten(TRAIN, fit(TRAIN, epsilon=0))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(4), atol=1e-3)


def test_pca_whitening_agrees_with_scikit_learn():
    n = len(TRAIN)
    fitted = PCA(whiten=True, svd_solver="full").fit(TRAIN.astype(np.float64))
    expected = fitted.transform(TEST) * np.sqrt(n / (n - 1))  # scikit-learn's variances divide by n - 1
    found = whiten(TEST, pca_whitening(TRAIN, epsilon=0))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-3)


def test_zca_whitening_is_the_inverse_square_root_of_the_covariance():
    covariance = np.cov(TRAIN, rowvar=False, bias=True) + 0.3 * np.eye(4)
    mean, matrix = zca_whitening(TRAIN, epsilon=0.3)
    np.testing.assert_allclose(mean, TRAIN.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(matrix, np.linalg.inv(scipy.linalg.sqrtm(covariance)), rtol=1e-4, atol=1e-5)


def test_pca_whitening_has_definite_signs():
    matrix = pca_whitening(
        np.array([[-1, 2], [1, -2], [2, 1], [-2, -1]]) * [[10], [10], [1], [1]], epsilon=0
    ).matrix
    # variances: 250 along (-1, 2)/√5, 2.5 along (2, 1)/√5
    np.testing.assert_allclose(
        matrix, np.array([[-1, 2], [2, 1]]) / np.sqrt(5) / np.sqrt([[250], [2.5]]), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("fit", [pca_whitening, zca_whitening])
def test_whitening_is_finite_without_variance(fit):
    train = np.concatenate([TRAIN, TRAIN[:, :1] * 2, np.ones((200, 1))], axis=1)  # rank 4 of 6
    whitening = fit(train)
    assert np.all(np.isfinite(whitening.matrix))
    assert np.abs(whiten(train, whitening)).max() < 10
    assert np.all(np.isfinite(fit(np.tile(1e7 * TRAIN, (1, 3))).matrix))  # variances round to below -epsilon


def test_whiten_runs_on_one_example_inside_a_compiled_step():
    whitening = zca_whitening(TRAIN)
    expected = [(x.astype(np.float64) - whitening.mean) @ whitening.matrix.astype(np.float64).T for x in TEST]
    found = jax.jit(jax.vmap(lambda x: whiten(x, whitening)))(TEST)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_whitening_asks_for_flat_examples():
    with pytest.raises(ValueError, match=r"shape \(3, 2, 2\); flatten the examples"):
        zca_whitening(np.zeros((3, 2, 2)))


def test_binarize_draws_pixels_by_their_intensity():
    image = jnp.tile(jnp.array([0, 0.1, 0.5, 0.9, 1])[:, None], (1, 4000))
    drawn = np.asarray(binarize(jax.random.key(0), image))
    assert drawn.dtype == np.float32 and set(np.unique(drawn)) == {0, 1}
    np.testing.assert_array_equal(drawn[[0, -1]].mean(axis=1), [0, 1])
    np.testing.assert_allclose(drawn.mean(axis=1), image[:, 0], atol=5 * 0.5 / np.sqrt(4000))
    assert np.any(drawn != binarize(jax.random.key(1), image))


def test_quantize_rounds_to_the_nearest_level():
    x = np.array([0, 0.1, 0.13, 0.62, 0.63, 0.9, 1], np.float32)
    np.testing.assert_allclose(quantize(x, 5), [0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_mu_law_by_hand():
    # F(0.1) = log(1 + 25.5)/log 256 = 0.591; F(1) = 1
    x = mu_law(np.array([-1, -0.1, 0, 0.1, 1], np.float32), 256)
    np.testing.assert_allclose(
        x * 255, [0, round(127.5 * (1 - 0.591)), 128, round(127.5 * 1.591), 255], atol=1e-4
    )
    np.testing.assert_allclose(
        mu_law_inverse(np.array([0.25, 1], np.float32), 256), [-(16 - 1) / 255, 1], rtol=1e-5
    )


@pytest.mark.parametrize("levels", [2, 5, 64, 256])
def test_mu_law_and_back(levels):
    x = np.linspace(0, 1, levels, dtype=np.float32)
    np.testing.assert_allclose(mu_law(mu_law_inverse(x, levels), levels), x, atol=1e-6)
    wave = np.linspace(-1, 1, 1001, dtype=np.float32)
    error = np.abs(mu_law_inverse(mu_law(wave, levels), levels) - wave)
    step = np.diff(np.asarray(mu_law_inverse(x, levels)))
    assert error.max() <= step.max() and error[np.abs(wave) < 1e-6] <= step.min()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((50, 10), (50, 10)), ((0.5, 0.25, 0.25), (30, 15, 15)), ((0.9, 0.1), (54, 6)), ((60, 0), (60, 0))],
)
def test_random_split_deals_out_each_example_once(sizes, expected):
    source = {"x": np.arange(60), "y": {"square": np.arange(60)[:, None] ** 2}}
    parts = random_split(source, sizes, seed=0)
    assert tuple(len(part["x"]) for part in parts) == expected
    assert sorted(np.concatenate([part["x"] for part in parts])) == list(range(60))
    for part in parts:
        np.testing.assert_array_equal(part["y"]["square"], part["x"][:, None] ** 2)


def test_random_split_depends_on_its_seed_alone():
    def first(seed):
        return random_split({"x": np.arange(60)}, (50, 10), seed)[0]["x"].tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert first(1) != list(range(50))


@pytest.mark.parametrize("sizes", [(50, 11), (0.5, 0.6), (61, -1)])
def test_random_split_refuses_sizes_that_do_not_add_up(sizes):
    with pytest.raises(ValueError, match="must add up to the 60 examples, or to 1"):
        random_split({"x": np.arange(60)}, sizes, seed=0)
