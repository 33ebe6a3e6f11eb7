"""Classification of images, or of anything that a net maps to class logits."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_classes
from jaxdl.objectives import smooth_labels, softmax_cross_entropy
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


def classifier(
    net: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float = 0.0,
    options: Options = Options(),
) -> Learner:
    """Train a net to give the label of an image the highest logit.

    minimise −log softmax(f(x))_y, against labels smoothed by α where asked for

    Args:
        net: [B, H, W, C] -> logits [B, num_classes], called with `train`.
        optimizer: of its params.
        label_smoothing: α of `smooth_labels`, in training only.
        options: of the shared step.

    Returns:
        A Learner of batches {"image": [B, H, W, C] in [0, 1], "label": int [B]}. It evaluates the loss and
        the accuracy, draws the images that it gets most wrong, and exports predict: image -> logits.
    """

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        variables = net.init(key, batch["image"], train=False)
        return {"net": variables["params"]}, {k: v for k, v in variables.items() if k != "params"}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        logits, model_state = net.apply(
            {"params": params["net"], **model_state},
            batch["image"],
            train=True,
            mutable=list(model_state),
            rngs={"dropout": key},
        )
        targets = batch["label"]
        if label_smoothing:
            one_hot = jax.nn.one_hot(targets, logits.shape[-1])
            targets = jax.vmap(lambda label: smooth_labels(label, label_smoothing))(one_hot)
        accuracy = (logits.argmax(-1) == batch["label"]).mean()
        return jax.vmap(softmax_cross_entropy)(logits, targets).mean(), (model_state, {"accuracy": accuracy})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        logits: Any = net.apply({"params": params["net"], **model_state}, batch["image"], train=False)
        correct = (logits.argmax(-1) == batch["label"]).astype(jnp.float32)
        return {"loss": jax.vmap(softmax_cross_entropy)(logits, batch["label"]), "accuracy": correct}

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        logits: Any = net.apply({"params": params["net"], **model_state}, batch["image"], train=False)
        check_classes("label", batch["label"], 1, held.get("label"), logits.shape[-1])

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def predict(image: Array) -> Array:
            logits: Any = net.apply({"params": params["net"], **model_state}, image[None], train=False)
            return logits[0]

        return {"predict": (predict, batch["image"])}

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        hardest = jnp.argsort(-evaluate(params, model_state, batch, key)["loss"])[:16]
        return {"hardest": image_grid(batch["image"][hardest])}

    players = {"net": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
