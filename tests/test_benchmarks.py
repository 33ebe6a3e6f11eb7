"""The benchmark beside PyTorch runs in its smallest size, and counts operations as one does by hand."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import speed
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
        (lambda x, w: conv(x, w, window_strides=(2, 2), padding="SAME"), (IMAGE, KERNEL), 2 * 32 * 6 * 48),
        (
            lambda x, w: jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=LAYOUT),
            (IMAGE, KERNEL),
            2 * (2 * 16 * 16 * 6) * 48 // 4,
        ),
        (jax.checkpoint(jnp.dot), (A, B), 210),
    ],
    ids=["dot", "jit", "vmap", "none", "gradient", "loop", "branches", "convolution", "transposed", "remat"],
)
def test_operations_counted_by_hand(function, args, expected):
    assert model_flops(function, *args) == expected


def test_a_step_of_a_transformer_takes_six_operations_for_each_param_and_token():
    learner, batch, _ = speed.workloads(small=False, bf16=False)["transformer350m"]
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert 3.4e8 < num_params < 3.6e8
    num_tokens, length = batch["tokens"][:, 1:].size, 1024
    attention = 12 * 24 * length * 1024 * num_tokens  # scores and sums of values, of 24 layers, three times
    expected = 6 * num_params * num_tokens + attention
    assert 0.95 < model_flops(learner.step, state, batch) / expected < 1.25  # the chunks' logits come twice


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
