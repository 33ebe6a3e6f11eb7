"""Semi-supervised classification by a deep generative model, the M2 of its paper."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_classes, check_interval
from jaxdl.learners.latent import (
    BERNOULLI,
    Draw,
    LatentModel,
    Likelihood,
    draw_posterior,
    importance_sampled_nll,
    init_latent_model,
)
from jaxdl.learners.latent_pictures import beside
from jaxdl.objectives import (
    elbo,
    kl_categorical,
    m2_labelled_bound,
    m2_unlabelled_bound,
    sample_gumbel_softmax,
    softmax_cross_entropy,
)
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


def m2(
    encoder: nn.Module,
    decoder: nn.Module,
    classifier: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    num_classes: int,
    labelled_share: float,
    alpha: float,
    temperature: float | None = None,
    likelihood: Likelihood = BERNOULLI,
    nll: tuple[str, int] | None = None,
    options: Options = Options(),
) -> Learner:
    """Train p(x|y, z) p(y) p(z) on few labelled and many unlabelled examples, whose labels are enumerated.

    minimise −mean_unlabelled U(x) − r mean_labelled L(x, y) + α mean_labelled[−log q(y|x)]
    U(x) = Σ_y q(y|x) ELBO(x|y) − KL(q(y|x) ‖ p(y)),  L(x, y) = ELBO(x|y) + log p(y),  p(y) uniform

    All C labels of an unlabelled example cost C passes of the model. Where they are many, one relaxed label
    y ~ q(y|x) is drawn instead, which costs one: U(x) ≈ ELBO(x|y) − KL(q(y|x) ‖ p(y)).

    See Kingma, Rezende, Mohamed & Welling (2014), arXiv:1406.5298; relaxed labels: Jang, Gu & Poole (2017),
    arXiv:1611.01144.

    Args:
        encoder: x [B, ...], one-hot y [B, C] -> mean, log_std of q(z|x, y).
        decoder: z, one-hot y -> output, the parameters of p(x|y, z).
        classifier: x -> logits [B, C] of q(y|x), called with `train`.
        optimizer: of all nets.
        num_classes: C.
        labelled_share: r, labelled examples for each unlabelled one in the data.
        alpha: weight of the classification.
        temperature: τ of relaxed labels in training; by default every label is enumerated.
        likelihood: what the decoder's output means.
        nll: (what is measured, K) to evaluate the importance-sampled −log p(x) too, as nll_k{K}_{what}, of K
            draws in each class.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, H, W, C], "labelled": {"x": [B, H, W, C], "label": int [B]}} in
        training, {"x", "label"} in evaluation. It evaluates the bound U in nats and the error, 1 where the
        class is wrong, draws examples, and their style in every class, and exports predict: x -> logits.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    if temperature is not None and temperature <= 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0, or None to enumerate labels")
    model, prior = LatentModel(encoder, decoder, likelihood), jnp.zeros(num_classes)
    classes = jnp.eye(num_classes)

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_model, key_classifier = jax.random.split(key)
        x = batch["x"]
        variables = init_latent_model(model, key_model, x, jnp.zeros((len(x), num_classes)))
        return {"model": variables | {"classifier": classifier.init(key_classifier, x, train=False)}}, {}

    def label_logits(params: Any, x: Array, train: bool, key: Key) -> Array:
        rngs = {"dropout": key}
        logits: Any = classifier.apply(params["model"]["classifier"], x, train=train, rngs=rngs)
        return logits

    def draw(params: Any, x: Array, y: Array, key: Key) -> Draw:
        """Draw z of each example, given one-hot labels y [B, C]."""
        draws = draw_posterior(model, params["model"], x, y.astype(x.dtype), key[None])
        return jax.tree.map(lambda leaf: leaf[0], draws)

    def elbo_given(params: Any, x: Array, y: Array, key: Key) -> Array:
        z = draw(params, x, y, key)
        return jax.vmap(elbo)(z.log_likelihood, z.kl)

    def unlabelled(params: Any, x: Array, logits: Array, key: Key) -> Array:
        def of_class(y: Array, key: Key) -> Array:
            return elbo_given(params, x, jnp.broadcast_to(y, (len(x), num_classes)), key)

        elbos = jax.vmap(of_class)(classes, jax.random.split(key, num_classes))  # [C, B]
        return jax.vmap(m2_unlabelled_bound, (1, 0, None))(elbos, logits, prior)

    def nll_of(params: Any, x: Array, key: Key, num: int) -> Array:
        """Estimate −log p(x) = −log Σ_y p(y) p(x|y)."""

        def of_class(y: Array) -> Array:
            y = jnp.broadcast_to(y, (len(x), num_classes))
            return importance_sampled_nll(model, params["model"], x, y, key, num_samples=num)

        return -jax.nn.logsumexp(jax.nn.log_softmax(prior)[:, None] - jax.lax.map(of_class, classes), 0)

    def unlabelled_in_training(params: Any, x: Array, logits: Array, key: Key) -> Array:
        if temperature is None:
            return unlabelled(params, x, logits, key)
        key_y, key_z = jax.random.split(key)
        y = sample_gumbel_softmax(key_y, logits, temperature)
        return elbo_given(params, x, y, key_z) - jax.vmap(kl_categorical, (0, None))(logits, prior)

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        key_labelled, key_unlabelled, *keys = jax.random.split(key, 4)
        x, label = batch["labelled"]["x"], batch["labelled"]["label"]
        logits = label_logits(params, batch["x"], True, keys[0])
        bound = unlabelled_in_training(params, batch["x"], logits, key_unlabelled)
        given = elbo_given(params, x, classes[label], key_labelled)
        labelled = jax.vmap(m2_labelled_bound, (0, 0, None))(given, label, prior)
        nll = jax.vmap(softmax_cross_entropy)(label_logits(params, x, True, keys[1]), label)
        metrics = {"bound": bound.mean(), "labelled_bound": labelled.mean(), "classification": nll.mean()}
        total = -bound.mean() - labelled_share * labelled.mean() + alpha * nll.mean()
        return total, (model_state, metrics)

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        key, key_nll = jax.random.split(key)
        logits = label_logits(params, batch["x"], False, key)
        error = (logits.argmax(-1) != batch["label"]).astype(jnp.float32)
        values = {"bound": unlabelled(params, batch["x"], logits, key), "error": error}
        if nll is not None:
            what, num = nll
            values[f"nll_k{num}_{what}"] = nll_of(params, batch["x"], key_nll, num)
        return values

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        check_interval("x", held.get("x"), likelihood.low, likelihood.high)
        label = batch["labelled"]["label"] if "labelled" in batch else batch["label"]
        check_classes("label", label, 1, held.get("label"), num_classes)

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        x = batch["x"][:12]
        y = classes[label_logits(params, x, False, key).argmax(-1)]
        z = draw(params, x, y, key).z

        def restyled(z: Array, y: Array) -> Array:
            output: Any = decoder.apply(
                params["model"]["decoder"], z, jnp.broadcast_to(y, (len(z), num_classes))
            )
            return likelihood.mean(output)

        in_class = jax.vmap(restyled, (None, 0))
        samples = in_class(jax.random.normal(key, z.shape), classes)
        return {"styles": beside(x, *in_class(z, classes)), "samples": beside(*samples)}

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def predict(x: Array) -> Array:
            return label_logits(params, x[None], False, jax.random.key(0))[0]

        return {"predict": (predict, batch["x"])}

    players = {"model": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )
