"""Checkpoints: what is saved comes back, strictly, from the last one that is whole."""

import resource
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.errors import InputError, RunError
from jaxdl.train import Checkpoints, TrainState, load_part


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


@pytest.mark.parametrize("maximize", [False, True])
def test_nan_is_the_worst_value_of_a_metric(tmp_path, maximize):
    checkpoints = Checkpoints(tmp_path, maximize=maximize)
    for step, loss in enumerate([2.0, 1.0, np.nan, 3.0, 4.0, 5.0], 1):
        checkpoints.save(step, state_of(float(step)), {"loss": -loss if maximize else loss})
    assert checkpoints.restore_best(jax.eval_shape(state_of))[1] == 2
    assert checkpoints.steps == [6, 5, 2]
    checkpoints.close()


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
            r"model_state\.more is missing in",
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


def test_one_flipped_bit_is_damage(tmp_path):
    """No reader would notice it in data that do not compress."""
    state = {"w": jax.random.bits(jax.random.key(0), (64, 64), jnp.uint8)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    checkpoints.save(2, state)
    checkpoints.close()
    data = tmp_path / "2" / "default" / "w" / "0.0"
    content = bytearray(data.read_bytes())
    content[2000] ^= 1
    data.write_bytes(content)
    again = Checkpoints(tmp_path)
    with pytest.warns(UserWarning, match="step 2 is damaged, going back to step 1: w is not what was saved"):
        restored, step = again.restore_latest(jax.eval_shape(lambda: state))
    again.close()
    assert step == 1
    assert_equal(restored, state)


def test_no_name_leads_out_of_the_folder(tmp_path):
    state = {"../../evil": jnp.ones(2), "..": jnp.zeros(2), "a/b": jnp.arange(3.0)}
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(1, state)
    restored, _ = checkpoints.restore_latest(jax.eval_shape(lambda: state))
    checkpoints.close()
    assert_equal(restored, state)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["1"]


def test_a_lost_array_is_damage(saved):
    """It must not come back as zeros."""
    for path in (saved / "3" / "default" / "params.model.w").rglob("*.0"):
        path.unlink()
    checkpoints = Checkpoints(saved)
    with pytest.warns(UserWarning, match="step 3 is damaged, going back to step 2"):
        _, step = checkpoints.restore_latest(jax.eval_shape(state_of))
    assert step == 2
    checkpoints.close()


def test_a_key_of_another_kind_comes_back_as_it_was(tmp_path):
    state = {"key": jax.random.key(3, impl="rbg")}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    restored, _ = checkpoints.restore_latest(jax.eval_shape(lambda: state))
    assert jax.random.key_impl(restored["key"]) == "rbg"
    assert_equal(restored, state)
    checkpoints.close()


def test_all_damaged_is_an_error(saved):
    for step in (1, 2, 3):
        damage(saved / str(step) / "default")
    checkpoints = Checkpoints(saved)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunError, match="every checkpoint"):
        checkpoints.restore_latest(jax.eval_shape(state_of))
    checkpoints.close()


def test_a_damaged_checkpoint_is_written_anew_when_its_step_comes_again(saved):
    damage(saved / "3" / "default")
    checkpoints = Checkpoints(saved)
    with pytest.warns(UserWarning, match="damaged"):
        checkpoints.restore_latest(jax.eval_shape(state_of))
    checkpoints.save(3, state_of(3.0), {"loss": 0.4})
    checkpoints.close()
    again = Checkpoints(saved)
    state, step = again.restore_latest(jax.eval_shape(state_of))
    assert step == 3
    assert_equal(state, state_of(3.0))
    again.close()


def test_a_damaged_best_checkpoint_is_an_error(saved):
    damage(saved / "1" / "default")
    checkpoints = Checkpoints(saved)
    with pytest.raises(RunError, match="the best checkpoint, of step 1, is damaged"):
        checkpoints.restore_best(jax.eval_shape(state_of))
    checkpoints.close()


@pytest.fixture
def small_files():
    """No file may grow beyond 200 bytes: to a writer that is a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, limit[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


# Futures of the writes that failed report to an event loop that orbax has closed by then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_on_a_full_disk_the_older_checkpoints_stay_and_later_ones_are_written(saved, small_files):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = Checkpoints(saved)
    small_files()
    checkpoints.save(4, state_of(4.0), {"loss": 0.3})
    with pytest.warns(
        UserWarning,
        match="of step 4 was not written: File too large; the run goes on, and the last good .* of step 3",
    ):
        checkpoints.wait()
    assert sorted(path.name for path in saved.iterdir()) == ["1", "2", "3"]  # no half-written rest
    checkpoints.save(5, state_of(5.0), {"loss": 0.3})
    with pytest.warns(UserWarning, match="step 5 was not written"):
        checkpoints.save(6, state_of(6.0), {"loss": 0.3})
    with pytest.warns(UserWarning, match="step 6 was not written"):
        checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    checkpoints.save(7, state_of(7.0), {"loss": 0.3})
    checkpoints.close()
    again = Checkpoints(saved)
    state, step = again.restore_latest(jax.eval_shape(state_of))
    assert step == 7
    assert_equal(state, state_of(7.0))
    again.close()


def over_devices(count, split=False):
    """The shapes of a state, to live on the first `count` devices, its largest array split over them."""
    mesh = Mesh(np.asarray(jax.devices()[:count]), ("batch",))

    def place(leaf):
        splits = split and leaf.ndim and leaf.shape[0] % count == 0
        sharding = NamedSharding(mesh, P("batch") if splits else P())
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, jax.eval_shape(partial(state_of, 2.0, 16)))


@pytest.mark.parametrize("split", [True, False], ids=["split", "replicated"])
@pytest.mark.parametrize(("wrote", "reads"), [(8, 1), (1, 8), (8, 4), (8, None)])
def test_a_checkpoint_written_on_some_devices_restores_on_others(tmp_path, wrote, reads, split):
    like = over_devices(wrote, split)
    state = jax.tree.map(lambda leaf, to: jax.device_put(leaf, to.sharding), state_of(2.0, 16), like)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    checkpoints.close()
    again = Checkpoints(tmp_path)
    wanted = jax.eval_shape(partial(state_of, 2.0, 16)) if reads is None else over_devices(reads, split)
    restored, _ = again.restore_latest(wanted)
    again.close()
    assert_equal(restored, state_of(2.0, 16))
    for leaf, to in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True):
        assert leaf.sharding.num_devices == (reads or 1)
        assert reads is None or leaf.sharding == to.sharding


@pytest.fixture
def run(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    saved.rename(folder / "checkpoints")
    return folder


def test_a_part_is_read_by_name(run):
    np.testing.assert_array_equal(load_part(run)["model"]["w"], np.full((3, 2), 3.0, np.float32))
    np.testing.assert_array_equal(load_part(run, "params.model.w", step=2), np.full((3, 2), 2.0))
    assert load_part(run, "step") == 3
    np.testing.assert_array_equal(load_part(run, "key"), jax.random.key_data(jax.random.key(3)))
    adam = load_part(run, "opt_state.model.0")
    assert set(adam) == {"count", "mu", "nu"}
    assert set(load_part(run, "")) == {
        *("step", "params", "opt_state", "model_state", "key", "ema_params", "ema_count")
    }


@pytest.mark.parametrize(
    ("part", "step", "message"),
    [
        ("parms", None, "has no 'parms' in the state; it has .*params"),
        ("params.encoder", None, "has no 'encoder' in params; it has model"),
        ("params.model.w.x", None, r"has no 'x' in params\.model\.w; it has nothing inside"),
        ("params", 9, r"no checkpoint of step 9; it has those of steps \[1, 2, 3\]"),
    ],
)
def test_a_part_that_is_not_there_is_named(run, part, step, message):
    with pytest.raises(InputError, match=message):
        load_part(run, part, step)


def test_a_folder_without_checkpoints_has_no_parts(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_part(tmp_path)


def test_without_a_folder_nothing_is_kept():
    checkpoints = Checkpoints(None)
    checkpoints.save(1, state_of())
    assert checkpoints.steps == []
    assert checkpoints.restore_latest(state_of()) is None
    assert checkpoints.restore_best(state_of()) is None
    checkpoints.close()
