"""Sequences with latents at each step, by variational recurrent or temporal convolutional nets."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.learners._check import check_interval
from jaxdl.learners.latent import nll_of_weights
from jaxdl.learners.latent_pictures import beside
from jaxdl.nets.vrnn import LatentPath, Normal, joined
from jaxdl.objectives import (
    bernoulli_log_prob,
    elbo,
    kl_normal,
    kl_standard_normal,
    multivariate_normal_log_prob,
    normal_log_prob,
    sample_bernoulli,
    sample_multivariate_normal,
    standard_normal_log_prob,
)
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


class Emission(NamedTuple):
    """Say what a net's output means: the distribution of one step x_t given the latents.

    Attributes:
        num_params: P, parameters of a step.
        log_prob: x_t [D], output [P] -> log p(x_t).
        sample: key, output [P] -> x_t [D].
    """

    num_params: int
    log_prob: Callable[[Array, Array], Array]
    sample: Callable[[Key, Array], Array]


def pen(components: int) -> Emission:
    """Let a step be (Δx, Δy) from a mixture of normals in the plane, and 1 where the pen is lifted, or 0.

    log p(x_t) = log Σ_k π_k N((Δx, Δy); μ_k, L_k L_kᵀ) + log Bernoulli(lifted)

    See Graves (2013), "Generating Sequences With Recurrent Neural Networks", arXiv:1308.0850, section 4.1.
    """

    def mixture(output: Array) -> tuple[Array, Array, Array]:
        logits, means, log_stds, slant = jnp.split(output[1:], [components, 3 * components, 5 * components])
        scales = jax.vmap(jnp.diag)(jnp.exp(log_stds).reshape(-1, 2)).at[:, 1, 0].set(slant)
        return logits, means.reshape(-1, 2), scales

    def log_prob(x_t: Array, output: Array) -> Array:
        logits, means, scales = mixture(output)
        move = jax.vmap(multivariate_normal_log_prob, (None, 0, 0))(x_t[:2], means, scales)
        return jax.nn.logsumexp(jax.nn.log_softmax(logits) + move) + bernoulli_log_prob(x_t[2], output[0])

    def sample(key: Key, output: Array) -> Array:
        key_component, key_move, key_pen = jax.random.split(key, 3)
        logits, means, scales = mixture(output)
        k = jax.random.categorical(key_component, logits)
        move = sample_multivariate_normal(key_move, means[k], scales[k])
        return jnp.append(move, sample_bernoulli(key_pen, output[0]))

    return Emission(1 + 6 * components, log_prob, sample)


class Terms(NamedTuple):
    """What a draw of the latents of each sequence is worth in nats, [B]; what follows its end is left out."""

    log_likelihood: Array  # Σ_t log p(x_t|z_≤t, x_<t)
    kl: Array  # Σ_t KL(q(z_t|x_≤t, z_<t) ‖ p(z_t|x_<t, z_<t))
    log_ratio: Array  # Σ_t log q(z_t|…) − log p(z_t|…), and that of the style
    style_kl: Array  # KL(q(s|x) ‖ N(0, I))


def latent_sequence(
    net: Any,
    emission: Emission,
    optimizer: optax.GradientTransformation,
    show: Callable[[Array, Array], Array],
    *,
    style: nn.Module | None = None,
    warmup: int = 0,
    free_nats: float = 0.0,
    nll_samples: int = 0,
    options: Options = Options(),
) -> Learner:
    """Train a net that has latents at each step to maximise the evidence lower bound of sequences.

    maximise E_q[Σ_t log p(x_t|z_≤t, x_<t) − β KL(q(z_t|x_≤t, z_<t) ‖ p(z_t|x_<t, z_<t))] − β max(KL_s, λ)

    What a sequence says is its context, given at each step; how it is said may have a latent of its own, s,
    that is seen beside the context, with KL_s = KL(q(s|x) ‖ N(0, I)). Latents that cost too much before they
    are understood are left unused for good: β rises from 0 to 1 first.

    See Chung et al. (2015), arXiv:1506.02216; Aksan & Hilliges (2019), arXiv:1902.06568; s: Aksan, Pece &
    Hilliges (2018), arXiv:1801.08379; β: Bowman et al. (2016), arXiv:1511.06349; λ: Kingma et al. (2016),
    arXiv:1606.04934.

    Args:
        net: of latent sequences, see jaxdl.nets.vrnn.
        emission: what its output means.
        optimizer: of all nets.
        show: x [T, D], mask [T] -> an image [H, W, C].
        style: x [B, T, D], context, mask [B, T] -> q(s|x), a Normal [B, S]; none by default.
        warmup: steps in which β rises.
        free_nats: λ, what the style may tell at no cost; it keeps s from being left unused.
        nll_samples: K, draws of the importance-sampled −log p(x); 0 to leave it unmeasured.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, T, D], "mask": [B, T]}, with a "context" [B, T, C] where the net takes
        one. It evaluates elbo, log_likelihood and kl in nats, with a style its style_kl, which the elbo
        counts, and nll_k{K}. It draws examples beside samples of their context, and contexts in the styles of
        other examples, and exports sample: seed -> x [T, D], of a context where there is one.
    """

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_net, key_style = jax.random.split(key)
        x, context = batch["x"], batch.get("context")
        params: dict[str, Any] = {}
        s, noise = None, jnp.zeros((*x.shape[:2], net.latent_dim))
        if style is not None:
            (s, _), variables = style.init_with_output(key_style, x, context, batch["mask"])
            params["style"] = variables["params"]
        params["net"] = net.init(key_net, x, beside_style(context, s, x), noise)["params"]
        return {"model": params}, {"step": jnp.zeros((), jnp.int32)}

    def apply(params: Any, *args: Any, **kwargs: Any) -> Any:
        return net.apply({"params": params["model"]["net"]}, *args, **kwargs)

    def styles(params: Any, batch: Batch) -> Normal | None:
        if style is None:
            return None
        variables: Any = {"params": params["model"]["style"]}
        q: Any = style.apply(variables, until_end(batch), batch.get("context"), batch["mask"])
        return q

    def terms(params: Any, batch: Batch, q_style: Normal | None, key: Key) -> Terms:
        key_style, key_path = jax.random.split(key)
        x, inside = until_end(batch), batch["mask"] > 0
        s, style_kl = None, jnp.zeros(len(x))
        style_ratio = style_kl
        if q_style is not None:
            s = q_style.draw(jax.random.normal(key_style, q_style.mean.shape))
            style_kl = jax.vmap(kl_standard_normal)(*q_style)
            style_ratio = jax.vmap(normal_log_prob)(s, *q_style) - jax.vmap(standard_normal_log_prob)(s)
        noise = jax.random.normal(key_path, (*x.shape[:2], net.latent_dim))
        path: LatentPath = apply(params, x, beside_style(batch.get("context"), s, x), noise)

        def over_time(step: Callable[..., Array], *args: Any) -> Array:
            return jnp.where(inside, jax.vmap(jax.vmap(step))(*args), 0).sum(1)

        log_q, log_p = (over_time(normal_log_prob, path.z, *each) for each in (path.posterior, path.prior))
        return Terms(
            over_time(emission.log_prob, x.astype(jnp.float32), path.output),
            over_time(kl_normal, *path.posterior, *path.prior),
            log_q - log_p + style_ratio,
            style_kl,
        )

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        values = terms(params, batch, styles(params, batch), key)
        beta = jnp.minimum((model_state["step"] + 1) / (warmup + 1), 1)
        bound = jax.vmap(partial(elbo, beta=beta))(values.log_likelihood, values.kl).mean()
        style_kl = jnp.maximum(values.style_kl.mean(), free_nats)
        metrics = jax.tree.map(jnp.mean, measured(values))
        return beta * style_kl - bound, ({"step": model_state["step"] + 1}, metrics)

    def measured(values: Terms) -> dict[str, Array]:
        total = jax.vmap(elbo)(values.log_likelihood, values.kl + values.style_kl)
        metrics = {"elbo": total, "log_likelihood": values.log_likelihood, "kl": values.kl}
        return metrics if style is None else metrics | {"style_kl": values.style_kl}

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        key_draw, key_nll = jax.random.split(key)
        q_style = styles(params, batch)
        metrics = measured(terms(params, batch, q_style, key_draw))
        if nll_samples:

            def log_weight(key: Key) -> Array:
                values = terms(params, batch, q_style, key)
                return values.log_likelihood - values.log_ratio

            metrics[f"nll_k{nll_samples}"] = nll_of_weights(log_weight, key_nll, nll_samples, chunk=8)
        return metrics

    def check(params: Any, model_state: Any, batch: Batch, held: Mapping[str, np.ndarray]) -> None:
        x, mask = batch["x"], batch["mask"]
        if x.ndim != 3 or mask.shape != x.shape[:2]:
            raise ValueError(f"x is {list(x.shape)} and mask {list(mask.shape)}; give [B, T, D] and [B, T]")
        check_interval("mask", held.get("mask"), 0, 1)

    @jax.jit
    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        batch = jax.tree.map(lambda leaf: leaf[:6], batch)
        x, mask, context = batch["x"], batch["mask"], batch.get("context")
        q_style = styles(params, batch)

        def drawn(x: Array) -> Array:
            return jax.lax.map(lambda each: show(*each), (x, mask))

        def write(s: Array | None, key: Key) -> Array:
            """Write what the examples say in styles [B, S], and draw it."""
            given = beside_style(context, s, x)
            return drawn(generate(net, emission, partial(apply, params), key, mask.shape, given))

        def sample(key: Key) -> Array:
            key_style, key_write = jax.random.split(key)
            s = None if q_style is None else jax.random.normal(key_style, q_style.mean.shape)
            return write(s, key_write)

        key_samples, key_styles = jax.random.split(key)
        examples = drawn(x)
        pictures = {"samples": beside(examples, *jax.lax.map(sample, jax.random.split(key_samples, 3)))}
        if q_style is None:
            return pictures

        def in_style(now: tuple[Array, Key]) -> Array:
            s, key = now
            return write(jnp.broadcast_to(s[None], q_style.mean.shape), key)

        # what the examples of the first row say, in the styles of those of the first column
        rows = jax.lax.map(in_style, (q_style.mean, jax.random.split(key_styles, len(x))))
        rows = jnp.concatenate([examples[:, None], rows], 1)
        first = jnp.concatenate([jnp.ones_like(examples[:1]), examples])
        cells = jnp.concatenate([first[None], rows]).reshape(-1, *examples.shape[1:])
        return pictures | {"styles": image_grid(cells, columns=1 + len(x))}

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        x = batch["x"]

        def sample(seed: Array, context: Array | None = None) -> Array:
            key_style, key_write = jax.random.split(jax.random.key(seed))
            q_style = styles(params, jax.tree.map(lambda leaf: leaf[:1], batch))  # for the size of s alone
            s = None if q_style is None else jax.random.normal(key_style, q_style.mean.shape)
            given = beside_style(None if context is None else context[None], s, x[:1])
            shape = (1, x.shape[1])
            return generate(net, emission, partial(apply, params), key_write, shape, given)[0]

        given = (batch["context"],) if "context" in batch else ()
        return {"sample": (sample, jnp.zeros(1, jnp.uint32), *given)}

    players = {"model": Player(loss, optimizer)}
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, check=check, export=export, options=options
    )


def until_end(batch: Batch) -> Array:
    """Return x [B, T, D], zero after the end, so that nothing there can overflow."""
    return jnp.where(batch["mask"][..., None] > 0, batch["x"], 0)


def beside_style(context: Array | None, s: Array | None, x: Array) -> Array | None:
    """Put the style [B, S] beside the context [B, T, C] of each step of x, where they are there."""
    if s is None:
        return context
    every = jnp.broadcast_to(s[:, None], (*x.shape[:2], s.shape[-1]))
    return joined(context, every)


def generate(
    net: Any,
    emission: Emission,
    apply: Callable[..., Any],
    key: Key,
    shape: tuple[int, int],
    context: Array | None = None,
) -> Array:
    """Draw sequences step by step: z_t from its prior, x_t given it.

    Args:
        net: of latent sequences.
        emission: what its output means.
        apply: the net with its params.
        key: of the draws.
        shape: B and T.
        context: [B, T, C], if anything.

    Returns:
        [B, T, D].
    """
    num, length = shape

    def step(state: Any, now: tuple[Array | None, Key]) -> tuple[Any, Array]:
        context_t, key = now
        key_z, key_x = jax.random.split(key)
        noise_t = jax.random.normal(key_z, (num, net.latent_dim))
        output, z_t = apply(state, context_t, noise_t, method="draw")
        x_t = jax.vmap(emission.sample)(jax.random.split(key_x, num), output)
        return apply(state, x_t, z_t, context_t, method="update"), x_t

    by_step = None if context is None else context.swapaxes(0, 1)
    x = jax.lax.scan(step, net.start(num), (by_step, jax.random.split(key, length)))[1]
    return x.swapaxes(0, 1)
