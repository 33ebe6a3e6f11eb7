"""Pictures, pixel by pixel."""

import jax
import numpy as np
import pytest

from jaxdl.ops.pictures import image_grid, line_picture, scatter_picture


@pytest.mark.parametrize(
    ("num", "columns", "gap", "size"),
    [
        (4, None, 1, (2, 2)),
        (5, None, 1, (2, 3)),  # one cell left over
        (6, 4, 2, (2, 4)),
        (3, 1, 0, (3, 1)),
        (1, None, 3, (1, 1)),
        (3, 8, 1, (1, 8)),
    ],
)
def test_grid_places_each_image_row_by_row(num, columns, gap, size):
    height, width = 2, 3
    images = np.random.default_rng(0).uniform(size=(num, height, width, 2)).astype(np.float32)
    expected = np.full((size[0] * (height + gap) - gap, size[1] * (width + gap) - gap, 2), 0.5, np.float32)
    for index, image in enumerate(images):
        top, left = (height + gap) * (index // size[1]), (width + gap) * (index % size[1])
        expected[top : top + height, left : left + width] = image
    np.testing.assert_array_equal(image_grid(images, columns, gap), expected)
    np.testing.assert_array_equal(jax.jit(image_grid, static_argnums=(1, 2))(images, columns, gap), expected)


@pytest.mark.parametrize(
    ("point", "row", "column"),
    [
        ((-1.9, 1.9), 0, 0),
        ((1.9, 1.9), 0, 3),
        ((-1.9, -1.9), 3, 0),
        ((0.5, 1.5), 0, 2),  # x to the right, y upwards
        ((2.0, -2.0), 3, 3),  # the bounds belong to the picture
    ],
)
def test_scatter_puts_a_point_into_its_pixel(point, row, column):
    expected = np.ones((4, 4))
    expected[row, column] = 0.75
    np.testing.assert_allclose(scatter_picture(np.array([point]), bound=2.0, size=4), expected)


def test_scatter_is_darker_where_points_are_dense_and_leaves_out_those_beyond():
    num = [1, 2, 3, 4, 9]
    points = np.repeat(np.stack([np.arange(5) - 2.0, np.zeros(5)], axis=1), num, axis=0)
    points = np.concatenate([points, [[9.0, 0.0], [0.0, -9.0]]])
    picture = jax.jit(scatter_picture, static_argnums=(1, 2))(points, 2.5, 5)
    expected = np.ones((5, 5))
    expected[2] = [0.75, 0.5, 0.25, 0, 0]
    np.testing.assert_allclose(picture, expected)


def test_a_line_is_dark_where_it_passes_and_white_where_the_pen_is_lifted():
    # Through the middles of pixels: along the upper row, down the last column, then lifted to the corner.
    points = np.array([[0.5, 3.5], [4.5, 3.5], [4.5, 0.5], [0.5, 0.5]], np.float32)
    low, high = np.zeros(2, np.float32), np.array([5, 4], np.float32)
    drawn = np.array([0, 1, 1, 0], np.float32)
    picture = jax.jit(line_picture, static_argnums=3)(points, low, high, (4, 5), drawn)
    expected = np.full((4, 5), 0.75)
    expected[0], expected[:, 4] = 0, 0
    expected[2:, :3] = 1
    np.testing.assert_allclose(picture[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(picture[:, 4], expected[:, 4], atol=1e-6)
    np.testing.assert_allclose(picture[2:, :3], expected[2:, :3], atol=1e-6)
    np.testing.assert_allclose(picture[1, :4], 0.75, atol=1e-6)
    assert line_picture(points, low, high, (4, 5))[3, 2] == 0


def test_a_point_is_a_line_too():
    picture = line_picture(np.full((2, 2), 1.5, np.float32), np.zeros(2), np.full(2, 3.0), (3, 3))
    np.testing.assert_allclose(picture, [[1, 0.75, 1], [0.75, 0, 0.75], [1, 0.75, 1]], atol=1e-6)
