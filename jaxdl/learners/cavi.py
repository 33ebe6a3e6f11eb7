"""Mean-field variational inference by coordinate ascent: the Bayesian mixture of Gaussians."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.learners.flow_pictures import heat_map
from jaxdl.objectives import gaussian_mixture_elbo
from jaxdl.ops.pictures import scatter_picture
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs


class Means(NamedTuple):
    """The posterior of the means of R mixtures, q(μ_k) = N(m_k, diag(s_k²)), [R, K, D] each."""

    mean: Array
    log_std: Array


def assignment_logits(x: Array, q: Means) -> Array:
    """Return log φ_ik up to a constant, [N, K], which is best for the means of one mixture.

    φ_ik ∝ exp(E[μ_k]ᵀx_i − ½ E[μ_kᵀμ_k]),  E[μ_kᵀμ_k] = m_kᵀm_k + Σ_d s_kd²
    """
    second_moment = (q.mean**2 + jnp.exp(2 * q.log_std)).sum(-1)
    return x @ q.mean.T - 0.5 * second_moment[None]


def best_means(x: Array, logits: Array, prior_std: float) -> Means:
    """Return the posterior of the means which is best for assignments φ [N, K].

    s_k² = 1/(1/σ² + Σ_i φ_ik),  m_k = s_k² Σ_i φ_ik x_i
    """
    phi = jax.nn.softmax(logits)
    variance = 1 / (1 / prior_std**2 + phi.sum(0))[:, None]
    mean = variance * (phi.T @ x)
    return Means(mean, jnp.broadcast_to(0.5 * jnp.log(variance), mean.shape))


def predictive_log_prob(x: Array, q: Means) -> Array:
    """Return the log-density of a new point [D], log (1/K) Σ_k N(x; m_k, (1 + s_k²) I) of one mixture.

    It is a mixture in D dimensions at once: s_k is the same along each of them.
    """
    log_std = 0.5 * jnp.log1p(jnp.exp(2 * q.log_std))
    log_probs = (-0.5 * ((x[None] - q.mean) * jnp.exp(-log_std)) ** 2 - log_std).sum(-1)
    return jax.nn.logsumexp(log_probs) - jnp.log(len(q.mean)) - 0.5 * x.size * jnp.log(2 * jnp.pi)


def mixture_cavi(x: Array, test: Array, *, components: int, prior_std: float, restarts: int = 1) -> Learner:
    """Infer the means of a mixture of unit-variance Gaussians; a step is one sweep, and the ELBO never falls.

    μ_k ~ N(0, σ² I),  c_i ~ U{1 … K},  x_i ~ N(μ_{c_i}, I);  q(μ, c) = Π_k N(μ_k; m_k, s_k²) Π_i φ_{i c_i}

    Where it ends depends on where it starts: several mixtures are swept side by side, and that of the highest
    bound counts.

    See Blei, Kucukelbir & McAuliffe (2017), arXiv:1601.00670, algorithm 2.

    Args:
        x: [N, D], the whole data set, which each sweep goes over.
        test: [M, D], points whose density is evaluated.
        components: K.
        prior_std: σ.
        restarts: R, mixtures.

    Returns:
        A Learner without batches. The metrics of a step are the elbo and the loss −elbo, in nats per point;
        it evaluates the elbo and the log_prob of test points, draws points and the density it predicts, and
        exports log_prob: x -> log p(x), and predict: x -> φ, the probabilities of the components.
    """
    edge = float(1.1 * jnp.abs(x).max())

    def bound(logits: Array, q: Means) -> Array:
        return gaussian_mixture_elbo(x, logits, *q, prior_std=prior_std) / len(x)

    def best(q: Means) -> tuple[Array, Means]:
        elbos = jax.vmap(lambda q: bound(assignment_logits(x, q), q))(q)
        return elbos.max(), jax.tree.map(lambda leaf: leaf[elbos.argmax()], q)

    def init(key: Key, batch: Batch) -> Means:
        starts = jax.vmap(lambda key: jax.random.choice(key, x, (components,), replace=False))
        mean = starts(jax.random.split(key, restarts))
        return Means(mean, jnp.zeros_like(mean))

    def step(state: Means, batch: Batch, *, axis_name: str | None = None) -> tuple[Means, Metrics]:
        def sweep(q: Means) -> tuple[Means, Array]:
            logits = assignment_logits(x, q)
            q = best_means(x, logits, prior_std)
            return q, bound(logits, q)

        state, elbos = jax.vmap(sweep)(state)
        return state, {"elbo": elbos.max(), "loss": -elbos.max()}

    def evaluate(state: Means, batch: Batch, key: Key) -> dict[str, Array]:
        elbo, q = best(state)
        log_prob = jax.vmap(lambda point: predictive_log_prob(point, q))(test)
        return {"elbo": elbo, "log_prob": log_prob}

    @jax.jit
    def render(state: Means, batch: Batch, key: Key) -> dict[str, Array]:
        _, q = best(state)
        density = heat_map(jax.vmap(lambda point: predictive_log_prob(point, q)), edge)
        return {"points beside their density": jnp.concatenate([scatter_picture(x, edge), density], 1)}

    def export(state: Means, batch: Batch) -> Programs:
        _, q = best(state)
        predict = lambda x: jax.nn.softmax(assignment_logits(x[None], q)[0])
        return {"log_prob": (lambda x: predictive_log_prob(x, q), test), "predict": (predict, test)}

    return Learner(init, step, evaluate, render, export=export)
