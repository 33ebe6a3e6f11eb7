"""What the pictures show: brightness, arrows, walls, and the way of a policy."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.rl import tabular
from jaxdl.rl.tabular.views import TERMINAL, WALL, grid_picture, policy_pictures

SIZE = 24


def cell(picture, row, column):
    """The pixels of a cell without its lines."""
    top, left = row * SIZE, column * SIZE
    return np.asarray(picture)[top : top + SIZE - 1, left : left + SIZE - 1]


def test_cells_are_coloured_by_their_values():
    mdp = tabular.cliff_walking()
    v = jnp.arange(48.0)
    picture = grid_picture(mdp, v)
    assert picture.shape == (4 * SIZE, 12 * SIZE, 3)
    assert 0 <= picture.min() <= picture.max() <= 1
    np.testing.assert_allclose(cell(picture, 3, 5), WALL)
    np.testing.assert_allclose(cell(picture, 3, 11), TERMINAL)
    brightness = np.array([cell(picture, *divmod(s, 12)).mean() for s in range(37)])
    assert (np.diff(brightness) > 0).all()
    np.testing.assert_allclose(cell(picture, 0, 0), np.broadcast_to([0.27, 0, 0.33], (23, 23, 3)), atol=1e-6)
    np.testing.assert_array_equal(grid_picture(mdp, jnp.ones(48))[0, 0], picture[0, 0])  # all equal: no 0/0


def test_arrows_point_where_the_actions_lead():
    mdp = tabular.cliff_walking()  # up, right, down, left
    policy = jnp.zeros((48, 4)).at[0, 0].set(1).at[1, 1].set(1).at[2, 2].set(1).at[3, 3].set(1)
    policy = policy.at[4].set(jnp.array([0.0, 0.5, 0.0, 0.5]))
    v = jnp.arange(48.0)
    ink = np.abs(np.asarray(grid_picture(mdp, v, policy) - grid_picture(mdp, v))).sum(-1, keepdims=True) > 0.1
    rows, columns = np.mgrid[:23, :23] - 11
    for s, (down, right) in enumerate(mdp.moves):
        drawn = cell(ink, 0, s)[..., 0]
        assert drawn.sum() > 20
        lean = np.array([rows[drawn].mean(), columns[drawn].mean()])
        np.testing.assert_allclose(lean / np.abs(lean).max(), [down, right], atol=0.05)
    both = cell(ink, 0, 4)[..., 0]
    np.testing.assert_array_equal(both, cell(ink, 0, 1)[..., 0] | cell(ink, 0, 3)[..., 0])
    assert not cell(ink, 1, 0).any()  # no action, no arrow


def test_the_path_of_a_policy():
    """Up, along the row above the cliff, and down."""
    mdp = tabular.cliff_walking()
    policy = jax.nn.one_hot(jnp.full(48, 1).at[36].set(0).at[35].set(2), 4)
    pictures = jax.jit(lambda key: policy_pictures(mdp, jnp.zeros(48), policy, key, 3))(jax.random.key(0))
    assert set(pictures) == {"values", "path"}
    bright = {s for s in range(37) if cell(pictures["path"], *divmod(s, 12)).mean() > 0.5}
    assert bright == {*range(24, 37)}
