from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from jaxdl.data import augment

IMAGE = np.random.default_rng(0).random((6, 5, 3), np.float32)
SQUARE = IMAGE[:5]
GREY = jnp.full((100, 100, 3), 0.5)
KEY = jax.random.key(0)

# Each augmentation: the name of its strength, some strength, and the strength that does nothing.
STRENGTHS = {
    augment.random_flip: ("probability", 0.5, 0),
    augment.random_crop: ("padding", 2, 0),
    augment.random_rotation: ("max_angle", 1.0, 0),
    augment.random_scaling: ("max_factor", 1.5, 1),
    augment.gaussian_noise: ("std", 0.2, 0),
    augment.random_blur: ("max_std", 2.0, 0),
    augment.salt_and_pepper: ("probability", 0.5, 0),
    augment.channel_dropout: ("probability", 0.5, 0),
}
every_augmentation = pytest.mark.parametrize("function", STRENGTHS, ids=lambda function: function.__name__)


def strong(function):
    name, strength, _ = STRENGTHS[function]
    return partial(function, **{name: strength})


def powerless(function):
    name, _, nothing = STRENGTHS[function]
    return partial(function, **{name: nothing})


def draws(augmentation, image, num):
    keys = jax.random.split(jax.random.key(1), num)
    return np.asarray(jax.jit(jax.vmap(augmentation, (0, None)))(keys, image))


@every_augmentation
def test_strength_zero_is_the_identity(function):
    np.testing.assert_array_equal(powerless(function)(KEY, IMAGE), IMAGE)


@every_augmentation
def test_shape_dtype_and_range_are_kept_and_draws_differ(function):
    images = draws(strong(function), IMAGE, 32)
    assert images.shape == (32, *IMAGE.shape) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 + 1e-6
    assert len(np.unique(images.reshape(32, -1), axis=0)) > 1


@every_augmentation
def test_a_mapped_call_equals_single_calls(function):
    augmentation = strong(function)
    keys = jax.random.split(KEY, 3)
    images = jnp.stack([IMAGE, IMAGE[::-1], 1 - IMAGE])
    expected = [augmentation(key, image) for key, image in zip(keys, images, strict=True)]
    np.testing.assert_allclose(jax.vmap(augmentation)(keys, images), jnp.stack(expected), atol=1e-6)


@every_augmentation
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (jnp.zeros((2, 6, 5, 3)), r"\(2, 6, 5, 3\), but \[H, W, C\] is expected.*jax.vmap"),
        (jnp.zeros((6, 5), jnp.float32), r"\(6, 5\), but \[H, W, C\]"),
        (jnp.zeros((6, 5, 3), jnp.uint8), r"uint8, but floats in \[0, 1\] .*divide by 255"),
    ],
)
def test_anything_but_one_float_image_is_refused(function, image, message):
    with pytest.raises(ValueError, match=message):
        strong(function)(KEY, image)


def test_flip_swaps_left_and_right_as_often_as_asked():
    np.testing.assert_array_equal(augment.random_flip(KEY, IMAGE, probability=1), np.flip(IMAGE, axis=1))
    images = draws(partial(augment.random_flip, probability=0.3), IMAGE, 2000)
    flipped = np.all(images == np.flip(IMAGE, axis=1), axis=(1, 2, 3))
    assert np.all(images[~flipped] == IMAGE)
    np.testing.assert_allclose(flipped.mean(), 0.3, atol=5 * np.sqrt(0.3 * 0.7 / 2000))


def test_crop_draws_each_shift_equally_often():
    padded = np.pad(IMAGE, ((1, 1), (1, 1), (0, 0)))
    windows = [padded[row : row + 6, column : column + 5] for row in range(3) for column in range(3)]
    images = draws(partial(augment.random_crop, padding=1), IMAGE, 1800)
    matches = np.all(images[:, None] == np.stack(windows)[None], axis=(2, 3, 4))
    assert np.all(matches.sum(axis=1) == 1)
    assert scipy.stats.chisquare(matches.sum(axis=0)).pvalue > 0.01


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_a_quarter_turn_is_rot90(quarters):
    turned = augment.rotate(SQUARE, quarters * np.pi / 2)
    np.testing.assert_allclose(turned, jnp.rot90(SQUARE, quarters), atol=1e-5)


@pytest.mark.parametrize("image", [IMAGE, SQUARE])
@pytest.mark.parametrize("angle", [0.3, -1.1])
def test_rotation_agrees_with_scipy(image, angle):
    expected = scipy.ndimage.rotate(
        image, np.rad2deg(angle), order=1, reshape=False, mode="grid-constant", prefilter=False
    )
    np.testing.assert_allclose(augment.rotate(image, angle), expected, atol=1e-5)


def test_rotation_angles_are_uniform():
    # One bright pixel, far from the centre, tells the angle.
    image = jnp.zeros((41, 41, 1)).at[20, 36].set(1.0)
    images = draws(partial(augment.random_rotation, max_angle=0.5), image, 400)[..., 0]
    row, column = np.mgrid[:41, :41] - 20
    total = images.sum(axis=(1, 2))
    angle = np.arctan2(-(images * row).sum(axis=(1, 2)) / total, (images * column).sum(axis=(1, 2)) / total)
    assert np.abs(angle).max() < 0.55
    assert scipy.stats.kstest(angle, "uniform", (-0.5, 1)).pvalue > 0.01


def test_scaling_by_two_on_a_line_by_hand():
    line = jnp.array([0.0, 0.2, 1.0, 0.4, 0.0])[None, :, None]
    np.testing.assert_allclose(augment.scale(line, 2)[0, :, 0], [0.2, 0.6, 1, 0.7, 0.4], atol=1e-6)
    np.testing.assert_allclose(augment.scale(line, 0.5)[0, :, 0], [0, 0, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(augment.scale(line + 0.2, 0.5)[0, :, 0], [0, 0.2, 1.2, 0.2, 0], atol=1e-6)


@pytest.mark.parametrize("factor", [0.7, 1.6])
def test_scaling_agrees_with_scipy(factor):
    center = (np.array(IMAGE.shape[:2]) - 1) / 2
    expected = np.stack(
        [
            scipy.ndimage.affine_transform(
                channel, np.eye(2) / factor, center - center / factor, order=1, mode="grid-constant"
            )
            for channel in np.moveaxis(IMAGE, -1, 0)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(augment.scale(IMAGE, factor), expected, atol=1e-5)


def test_scaling_factors_are_log_uniform():
    # The slope of a ramp through the centre is one over the factor.
    ramp = jnp.broadcast_to((0.5 + (jnp.arange(21) - 10) / 40)[None, :, None], (3, 21, 1))
    images = draws(partial(augment.random_scaling, max_factor=1.5), ramp, 400)
    factor = (1 / 40) / (images[:, 1, 11, 0] - images[:, 1, 10, 0])
    assert scipy.stats.kstest(np.log(factor), "uniform", (-np.log(1.5), 2 * np.log(1.5))).pvalue > 0.01


def test_noise_has_the_stated_std_and_is_independent():
    noise = np.asarray(augment.gaussian_noise(KEY, GREY, std=0.1)) - 0.5
    assert scipy.stats.kstest(noise.ravel(), "norm", (0, 0.1)).pvalue > 0.01
    np.testing.assert_allclose(np.corrcoef(noise.reshape(-1, 3), rowvar=False), np.eye(3), atol=0.05)


def test_noise_is_clipped():
    image = np.asarray(augment.gaussian_noise(KEY, GREY, std=1.0))
    share = scipy.stats.norm.cdf(-0.5)
    np.testing.assert_allclose([(image == 0).mean(), (image == 1).mean()], share, atol=0.02)


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_blur_averages_with_gaussian_weights(std):
    expected = np.zeros(IMAGE.shape)
    for i in range(6):
        for j in range(5):
            row, column = np.mgrid[:6, :5]
            weight = np.exp(-((row - i) ** 2 + (column - j) ** 2) / (2 * std**2))
            expected[i, j] = np.einsum("hw,hwc->c", weight / weight.sum(), IMAGE)
    np.testing.assert_allclose(augment.blur(IMAGE, std), expected, atol=1e-6)


def test_blur_agrees_with_scipy_inside():
    image = np.random.default_rng(1).random((31, 31, 1)).astype(np.float32)
    expected = scipy.ndimage.gaussian_filter(image, (1.5, 1.5, 0), truncate=6)
    np.testing.assert_allclose(augment.blur(image, 1.5)[10:-10, 10:-10], expected[10:-10, 10:-10], atol=1e-5)


def test_blur_keeps_a_constant_image_and_has_a_finite_gradient_at_zero():
    np.testing.assert_allclose(augment.blur(GREY[:8, :8], 3.0), 0.5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda std: augment.blur(SQUARE, std).sum())(0.0))


def test_blur_widths_are_uniform():
    # A wide blur of an impulse has the variance std², up to the grid.
    image = jnp.zeros((1, 41, 1)).at[0, 20].set(1.0)
    images = draws(partial(augment.random_blur, max_std=4.0), image, 400)[:, 0, :, 0]
    std = np.sqrt((images * (np.arange(41) - 20) ** 2).sum(axis=1))
    assert scipy.stats.kstest(std[std > 1], "uniform", (1, 3)).pvalue > 0.01
    np.testing.assert_allclose((std > 1).mean(), 0.75, atol=5 * np.sqrt(0.75 * 0.25 / 400))


def test_salt_and_pepper_strike_whole_pixels_with_equal_odds():
    image = np.asarray(augment.salt_and_pepper(KEY, GREY, probability=0.2))
    assert set(np.unique(image)) == {0, 0.5, 1}
    assert np.all(image == image[..., :1])
    salt, pepper = (image[..., 0] == 1).mean(), (image[..., 0] == 0).mean()
    np.testing.assert_allclose([salt, pepper], 0.1, atol=5 * np.sqrt(0.1 * 0.9 / 10_000))


def test_channel_dropout_zeroes_channels_and_keeps_the_others():
    images = draws(partial(augment.channel_dropout, probability=0.3), IMAGE, 2000)
    dropped = np.all(images == 0, axis=(1, 2))  # [draws, channels]
    np.testing.assert_array_equal(images, np.where(dropped[:, None, None], 0, IMAGE))
    np.testing.assert_allclose(dropped.mean(axis=0), 0.3, atol=5 * np.sqrt(0.3 * 0.7 / 2000))
    np.testing.assert_allclose(np.all(dropped, axis=1).mean(), 0.3**3, atol=0.02)


def test_compose_applies_in_order_with_a_key_each():
    def add(key, image):
        return image + jax.random.uniform(key)

    first, second, _ = jax.random.split(KEY, 3)
    expected = (IMAGE + jax.random.uniform(first) + jax.random.uniform(second)) * 2
    found = augment.compose(add, add, lambda key, image: 2 * image)(KEY, IMAGE)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(augment.compose()(KEY, IMAGE), IMAGE)


def test_a_mask_moves_along_with_its_image():
    geometric = augment.compose(
        augment.random_flip,
        partial(augment.random_crop, padding=2),
        partial(augment.random_rotation, max_angle=1.0),
    )
    moved = geometric(KEY, IMAGE)
    np.testing.assert_allclose(geometric(KEY, IMAGE[..., 1:2]), moved[..., 1:2], atol=1e-6)
