"""The benchmark beside PyTorch runs in its smallest size, and counts operations as one does by hand."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import feeding
import flows
import layers
import memory
import speed
import sweep
from flops import model_flops

A, B = jnp.ones((3, 5)), jnp.ones((5, 7))
IMAGE, KERNEL = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 4, 3, 6))
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x, w, **how):
    return jax.lax.conv_general_dilated(x, w, dimension_numbers=LAYOUT, **how)


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (jnp.dot, (A, B), 2 * 3 * 5 * 7),
        (jax.jit(jnp.dot), (A, B), 2 * 3 * 5 * 7),
        (jax.vmap(jnp.dot, (0, None)), (jnp.ones((4, 3, 5)), B), 4 * 2 * 3 * 5 * 7),
        (lambda a, b: jnp.sin(a) + b, (A, A), 0),
        (jax.grad(lambda a, b: (a @ b).sum(), (0, 1)), (A, B), 2 * 2 * 3 * 5 * 7 + 2 * 3 * 5 * 7),
        (lambda a: jax.lax.fori_loop(0, 6, lambda _, b: a @ b, a), (jnp.ones((3, 3)),), 6 * 2 * 27),
        (lambda a, b: jax.lax.cond(a.sum() > 0, lambda: a @ b, lambda: (a @ b) @ b.T @ b), (A, B), 3 * 210),
        (
            lambda a, b: jax.lax.platform_dependent(a, b, cpu=lambda a, b: a @ b @ b.T @ b, default=jnp.dot),
            (A, B),
            210,
        ),
        (lambda x, w: conv(x, w, window_strides=(2, 2), padding="SAME"), (IMAGE, KERNEL), 2 * 32 * 6 * 48),
        (
            lambda x, w: jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=LAYOUT),
            (IMAGE, KERNEL),
            2 * (2 * 16 * 16 * 6) * 48 // 4,
        ),
        (jax.checkpoint(jnp.dot), (A, B), 210),
    ],
    ids=[
        *("dot", "jit", "vmap", "none", "gradient", "loop", "branches", "platforms"),
        *("convolution", "transposed", "remat"),
    ],
)
def test_operations_counted_by_hand(function, args, expected):
    assert model_flops(function, *args) == expected


def test_a_step_of_a_transformer_takes_six_operations_for_each_param_and_token():
    learner, batch, _ = speed.workloads(small=False, bf16=False, chunk=None)["transformer350m"]
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert 3.4e8 < num_params < 3.6e8
    num_tokens, length = batch["tokens"][:, 1:].size, 1024
    attention = 12 * 24 * length * 1024 * num_tokens  # scores and sums of values, of 24 layers, three times
    expected = 6 * num_params * num_tokens + attention
    assert 0.95 < model_flops(learner.step, state, batch) / expected < 1.05
    learner = speed.workloads(small=False, bf16=False)["transformer350m"][0]
    assert model_flops(learner.step, state, batch) > 1.03 * expected  # logits of chunks come twice


@pytest.mark.parametrize("name", speed.TARGETS)
def test_every_workload_steps(name):
    learner, batch, _ = speed.workloads(small=True, bf16=True)[name]
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    after, metrics = jax.eval_shape(learner.step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state) and metrics
    assert model_flops(learner.step, state, batch) > 0


def test_the_command_runs_in_its_smallest_size(tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.md"
    flags = "speed.py mlp transformer350m --small --alone --bf16 --repeats 1 --seconds 0 --pause 0"
    monkeypatch.setattr(sys, "argv", [*flags.split(), "--steps-per-call", "2", "--out", str(out)])
    speed.main()
    head, _, columns, _, *rows = out.read_text().splitlines()
    assert "bfloat16" in head and "TFLOP/s" in head
    assert columns.split(" | ")[-2:] == ["MFU", "memory |"]
    assert [row.split()[1] for row in rows] == ["mlp", "transformer350m"]
    for row in rows:
        cells = row.split(" | ")
        assert float(cells[1]) > 0 and float(cells[2]) > 0
        assert cells[-2].endswith("%") and float(cells[-1].split()[0]) > 0
    assert capsys.readouterr().out == out.read_text()


def test_an_unknown_workload_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed.py", "mlq"])
    with pytest.raises(SystemExit):
        speed.main()
    assert "there is no workload 'mlq'" in capsys.readouterr().err


def test_the_command_beside_flowjax_runs_in_its_smallest_size(tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.md"
    flags = "flows.py --small --alone --repeats 1 --seconds 0 --steps-per-call 2"
    monkeypatch.setattr(sys, "argv", [*flags.split(), "--out", str(out)])
    flows.main()
    head, _, columns, _, *rows = out.read_text().splitlines()
    conditioner = (1 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * 2  # of one number, for a scale and a shift
    assert head.endswith(f"params: jaxdl {8 * conditioner:,}; k = 2")
    assert columns == "| realnvp | jaxdl | jaxdl, k steps a call | ratio | target |"
    for row, unit in zip(rows, ("s", "CPU-second"), strict=True):
        name, *rates, ratio, target = row.strip("| ").split(" | ")
        assert (name, ratio, target) == (f"steps/{unit}", "–", "1.3")
        assert all(float(rate) > 0 for rate in rates)
    assert capsys.readouterr().out == out.read_text()


def test_the_command_beside_tf_data_and_grain_runs_in_its_smallest_size(tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.md"
    flags = "feeding.py --small --alone --repeats 1 --seconds 0 --steps-per-call 2"
    monkeypatch.setattr(sys, "argv", [*flags.split(), "--out", str(out)])
    feeding.main()
    _, _, columns, _, *rows, target = out.read_text().splitlines()
    assert columns == "| batches/s | numpy (min to max) | device (min to max) |"
    for row, measured in zip(rows, [2, 2, 1, 1], strict=True):
        values = [cell.split()[0] for cell in row.strip("| ").split(" | ")[1:]]
        assert [value != "–" for value in values] == [measured == 2, True]
        assert all(float(value.replace(",", "")) > 0 for value in values[2 - measured :])
    assert target == "| target | 10,000 | |"
    assert capsys.readouterr().out == out.read_text()


def test_all_ways_to_feed_that_are_measured_deliver_the_same_batches():
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 3), dtype=np.uint8)
    delivered = {}
    for name, (start, deliver, each) in feeding.jaxdl_sides(images, 4, 2).items():
        items = start()
        batches = [deliver(next(items))["image"] for _ in range(4 // each)]
        delivered[name] = np.stack(batches).reshape(4, 4, 3, 3)
    first = delivered["jaxdl, host gather"]
    assert first.dtype == np.float32
    np.testing.assert_allclose(np.sort(first[:3], None), np.sort(images / np.float32(255), None), rtol=1e-6)
    for other in delivered.values():
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize(("script", "peer"), [(flows, "equinox"), (feeding, "tensorflow")])
def test_a_peer_that_is_not_installed_is_named(script, peer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.__name__, "--small"])
    monkeypatch.setitem(sys.modules, peer, None)
    with pytest.raises(SystemExit):
        script.main()
    assert f'there is no {peer}: pip install -e ".[bench]"' in capsys.readouterr().err


@pytest.mark.parametrize(("script", "num_rows"), [(layers, 2), (memory, 2)])
def test_scripts_of_one_table_run_in_their_smallest_size(script, num_rows, monkeypatch, capsys):
    flags = f"{script.__name__}.py --small --repeats 1 --seconds 0"
    monkeypatch.setattr(sys, "argv", flags.split())
    script.main()
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == num_rows
    assert all(float(row.strip("| ").split(" | ")[-1]) > 0 for row in rows)


def test_layers_that_are_timed_side_by_side_compute_the_same():
    for sides in (layers.recurrent(2, 5, 4), layers.attended(2, 5, 2, 4)):
        (plain, given), (ours, own) = sides.values()
        assert plain(*given).shape == ours(*own).shape
    np.testing.assert_allclose(plain(*given), ours(*own), atol=1e-5)


def test_the_exponent_of_a_power_law_comes_from_the_larger_sizes():
    sizes = (2, 4, 8, 16, 32, 64)
    values = [9.0, 9.0, *(3 * size**1.5 for size in sizes[2:])]  # small ones cost what they cost
    assert sweep.fit(sizes, values) == pytest.approx((np.log(3), 1.5))
    assert sweep.fit((1, 2, 4), [7.0, 0.5, 0.25]) == pytest.approx((0.0, -1.0))


def test_the_sweeps_run_in_their_smallest_size(tmp_path, monkeypatch, capsys):
    flags = "sweep.py batch devices processes --small --repeats 1 --seconds 0 --picture-folder"
    monkeypatch.setattr(sys, "argv", [*flags.split(), str(tmp_path)])
    sweep.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    batch, _, mlp, devices, _, jit, shard, pmap, _, _, processes = (line[2:-2].split(" | ") for line in lines)
    assert batch[1:] == ["16", "32", "64", "exponent", "counted"] and mlp[-1] == "1.00"
    assert devices[1:] == ["1", "2", "exponent", "counted"] and shard[-1] == pmap[-1] == "0.00"
    assert [row[0] for row in (jit, shard, pmap, processes)] == ["jit", "shard", "pmap", "shard"]
    assert jit[1].endswith("(1.00)") and processes[1].endswith("(1.00)")
    times = [*mlp[1:4], jit[1], *shard[1:3], *pmap[1:3], *processes[1:]]
    assert all(float(time.split()[0].replace(",", "")) > 0 for time in times)
    assert 0 < (tmp_path / "cost.png").stat().st_size < 80_000
