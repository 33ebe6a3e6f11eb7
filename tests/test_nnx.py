"""The page on flax.nnx runs as it stands, and trains what linen and optax train by hand."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxdl.nets.mlp import MLP
from jaxdl.nets.resnet import ResNet
from jaxdl.objectives import softmax_cross_entropy

PAGE = Path(__file__).parent.parent / "docs" / "nnx.md"


@pytest.fixture(scope="module")
def page():
    """What the page's code leaves behind."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names = {"__name__": "page"}
    exec(compile(source, PAGE.name, "exec"), names)
    return names


def test_the_page_trains(page):
    assert page["losses"][-1] < 0.2 * page["losses"][0]
    assert page["accuracy"] > 0.9


def test_params_and_statistics_have_the_names_that_the_page_says(page):
    model = page["model"]
    assert isinstance(model.BasicBlock_0["Conv_0"]["kernel"], nnx.Param)
    mean = model.BasicBlock_0["BatchNorm_0"]["mean"]
    assert isinstance(mean, nnx.BatchStat)
    assert np.abs(mean[...]).max() > 0  # it began at zero


def test_a_bridged_net_takes_the_steps_of_linen():
    net = ResNet(num_classes=3, blocks=(1,), widths=(4,))
    rng = np.random.default_rng(0)
    image, label = jnp.asarray(rng.normal(size=(6, 4, 4, 1)), jnp.float32), jnp.arange(6) % 3
    model = nnx.bridge.ToNNX(net, rngs=nnx.Rngs(0))
    nnx.bridge.lazy_init(model, image, train=False)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    statistics = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    params, statistics = jax.tree.map(jnp.copy, (params, statistics))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)
    linen_optimizer = optax.sgd(0.1, momentum=0.9)
    opt_state = linen_optimizer.init(params)

    def mean_loss(logits):
        return jax.vmap(softmax_cross_entropy)(logits, label).mean()

    def linen_loss(params, statistics):
        variables = {"params": params, "batch_stats": statistics}
        logits, changed = net.apply(variables, image, train=True, mutable=["batch_stats"])
        return mean_loss(logits), changed["batch_stats"]

    linen_gradient = jax.jit(jax.grad(linen_loss, has_aux=True))

    @nnx.jit
    def nnx_step(model, optimizer):
        loss = lambda model: mean_loss(model(image, train=True, mutable=["batch_stats"]))
        optimizer.update(model, nnx.grad(loss)(model))

    for _ in range(3):
        gradient, statistics = linen_gradient(params, statistics)
        updates, opt_state = linen_optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        nnx_step(model, optimizer)
    bridged = [nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat)]
    for ours, theirs in zip(jax.tree.leaves(bridged), jax.tree.leaves([params, statistics]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_dropout_draws_from_the_stream_of_its_name():
    net, x = MLP(2, (64,), dropout=0.5), jnp.ones((1, 3))
    model = nnx.bridge.ToNNX(net, rngs=nnx.Rngs(0, dropout=1))
    nnx.bridge.lazy_init(model, x, train=False)
    assert not np.allclose(model(x, train=True), model(x, train=True))
    np.testing.assert_array_equal(model(x, train=False), model(x, train=False))
