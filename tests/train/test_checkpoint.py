"""Checkpoints: what is saved comes back, strictly, from the last one that is whole."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.errors import InputError, RunError
from jaxdl.train import Checkpoints, TrainState


def state_of(value=1.0, width=3, dtype=jnp.float32):
    params = {"model": {"w": jnp.full((width, 2), value, dtype)}}
    return TrainState(
        step=jnp.array(int(value), jnp.int32),
        params=params,
        opt_state={"model": optax.adam(0.1).init(params["model"])},
        model_state={"chain": jax.random.key(5)},
        key=jax.random.key(int(value)),
        ema_params=params,
        ema_count=jnp.zeros((), jnp.int32),
    )


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def saved(tmp_path):
    """Three checkpoints, the first of them the best."""
    checkpoints = Checkpoints(tmp_path, monitor="loss")
    for step, loss in ((1, 0.1), (2, 0.5), (3, 0.4)):
        checkpoints.save(step, state_of(float(step)), {"loss": loss})
    checkpoints.close()
    return tmp_path


def test_the_whole_state_comes_back_typed_keys_included(saved):
    checkpoints = Checkpoints(saved)
    state, step = checkpoints.restore_latest(jax.eval_shape(state_of))
    assert step == 3
    assert_equal(state, state_of(3.0))
    checkpoints.close()


def test_the_last_two_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, monitor="score", maximize=True, last=2)
    for step, score in enumerate([1.0, 9.0, 3.0, 4.0, 5.0]):
        checkpoints.save(step, state_of(float(step)), {"score": score})
    checkpoints.save(5, state_of(5.0))  # as after a signal: without metrics
    checkpoints.close()
    again = Checkpoints(tmp_path, monitor="score", maximize=True)
    assert again.steps == [5, 4, 1]
    state, step = again.restore_best(jax.eval_shape(state_of))
    assert step == 1
    assert_equal(state, state_of(1.0))
    again.close()


def test_what_is_saved_is_the_state_at_the_time(tmp_path):
    """The next step reuses the memory of the state while it is still being written."""
    checkpoints = Checkpoints(tmp_path)
    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    state = {"w": jnp.ones((500, 500))}
    checkpoints.save(1, state)
    for _ in range(3):
        state = {"w": overwrite(state["w"])}
    jax.block_until_ready(state)
    restored, _ = checkpoints.restore_latest(jax.eval_shape(lambda: {"w": jnp.ones((500, 500))}))
    np.testing.assert_array_equal(restored["w"], 1.0)
    checkpoints.close()


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            lambda: state_of(width=4),
            r"params\.model\.w is float32\[3, 2\] in the checkpoint of step 3, but float32\[4, 2\]",
        ),
        (lambda: state_of(dtype=jnp.bfloat16), r"params\.model\.w is float32\[3, 2\].*bfloat16\[3, 2\] here"),
        (lambda: state_of().replace(ema_count=None), r"holds ema_count, which this learner has not"),
        (
            lambda: state_of().replace(model_state={"chain": jax.random.key(5), "more": jnp.ones(2)}),
            r"has no model_state\.more",
        ),
    ],
    ids=["shape", "dtype", "extra", "missing"],
)
def test_a_checkpoint_of_another_state_is_refused(saved, like, message):
    checkpoints = Checkpoints(saved)
    with pytest.raises(InputError, match=message):
        checkpoints.restore_latest(jax.eval_shape(like))
    checkpoints.close()


def damage(folder):
    """Cut every data file of a checkpoint to half its length."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 50]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert files


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(saved):
    damage(saved / "3" / "default")
    checkpoints = Checkpoints(saved)
    with pytest.warns(UserWarning, match="checkpoint of step 3 is damaged, going back to step 2"):
        state, step = checkpoints.restore_latest(jax.eval_shape(state_of))
    assert step == 2
    assert_equal(state, state_of(2.0))
    checkpoints.close()


def test_all_damaged_is_an_error(saved):
    for step in (1, 2, 3):
        damage(saved / str(step) / "default")
    checkpoints = Checkpoints(saved)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunError, match="every checkpoint"):
        checkpoints.restore_latest(jax.eval_shape(state_of))
    checkpoints.close()


def test_without_a_folder_nothing_is_kept():
    checkpoints = Checkpoints(None)
    checkpoints.save(1, state_of())
    assert checkpoints.steps == []
    assert checkpoints.restore_latest(state_of()) is None
    assert checkpoints.restore_best(state_of()) is None
    checkpoints.close()
