"""Entropies, divergences and distances of distributions, in nats unless `base` says otherwise."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import rel_entr

from jaxdl.objectives._absolute import absolute
from jaxdl.objectives._check import check_rank, check_same_shape
from jaxdl.types import Array


def entropy(logits: Array, *, base: float = math.e) -> Array:
    """Return the entropy of a categorical distribution.

    H(p) = −Σ p log p,  with 0 log 0 = 0

    See Shannon, 1948.

    Args:
        logits: [C], log p up to a constant.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar in [0, log C].
    """
    check_rank(1, logits=logits)
    return cross_entropy(logits, logits, base=base)


def cross_entropy(logits_p: Array, logits_q: Array, *, base: float = math.e) -> Array:
    """Return the cross-entropy of two categorical distributions.

    H(p, q) = −Σ p log q = H(p) + KL(p ‖ q)

    Args:
        logits_p: [C], log p up to a constant.
        logits_q: [C], log q up to a constant.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar.
    """
    check_rank(1, logits_p=logits_p, logits_q=logits_q)
    check_same_shape(logits_p=logits_p, logits_q=logits_q)
    return -_expect(jax.nn.log_softmax(logits_p), jax.nn.log_softmax(logits_q)) / math.log(base)


def conditional_entropy(joint: Array, *, base: float = math.e) -> Array:
    """Return the entropy that X keeps once Y is known.

    H(X|Y) = −Σ p(x, y) log p(x, y)/p(y)

    Args:
        joint: [X, Y], a table p(x, y) that sums to 1; zeros are allowed.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar in [0, H(X)].
    """
    check_rank(2, joint=joint)
    return -rel_entr(joint, joint.sum(axis=0, keepdims=True)).sum() / math.log(base)


def mutual_information(joint: Array, *, base: float = math.e) -> Array:
    """Return the information that X and Y share; zero where p(x, y) = p(x) p(y).

    I(X; Y) = H(X) − H(X|Y)

    Args:
        joint: [X, Y], a table p(x, y) that sums to 1; zeros are allowed.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar in [0, min(H(X), H(Y))].
    """
    check_rank(2, joint=joint)
    entropy_x = -rel_entr(joint.sum(axis=1), 1.0).sum() / math.log(base)
    return entropy_x - conditional_entropy(joint, base=base)


def kl_categorical(logits_p: Array, logits_q: Array, *, base: float = math.e) -> Array:
    """Return the Kullback-Leibler divergence of two categorical distributions.

    KL(p ‖ q) = Σ p (log p − log q)

    Args:
        logits_p: [C], log p up to a constant.
        logits_q: [C], log q up to a constant.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar, at least 0.
    """
    check_rank(1, logits_p=logits_p, logits_q=logits_q)
    check_same_shape(logits_p=logits_p, logits_q=logits_q)
    log_p, log_q = jax.nn.log_softmax(logits_p), jax.nn.log_softmax(logits_q)
    return _expect(log_p, log_p - log_q) / math.log(base)


def kl_bernoulli(logits_p: Array, logits_q: Array) -> Array:
    """Return the Kullback-Leibler divergence of independent Bernoulli variables.

    KL(p ‖ q) = Σ p log p/q + (1 − p) log (1 − p)/(1 − q)

    Args:
        logits_p: [...], log p/(1 − p).
        logits_q: [...], log q/(1 − q).

    Returns:
        A scalar, at least 0.
    """
    check_same_shape(logits_p=logits_p, logits_q=logits_q)
    log_sigmoid = jax.nn.log_sigmoid
    on = jax.nn.sigmoid(logits_p) * (log_sigmoid(logits_p) - log_sigmoid(logits_q))
    off = jax.nn.sigmoid(-logits_p) * (log_sigmoid(-logits_p) - log_sigmoid(-logits_q))
    return (on + off).sum()


def kl_normal(mean_p: Array, log_std_p: Array, mean_q: Array, log_std_q: Array) -> Array:
    """Return the Kullback-Leibler divergence of independent normal variables.

    KL(p ‖ q) = Σ log σ_q/σ_p + (σ_p² + (μ_p − μ_q)²)/2σ_q² − ½

    Args:
        mean_p: [...], μ_p.
        log_std_p: [...], log σ_p.
        mean_q: [...], μ_q.
        log_std_q: [...], log σ_q.

    Returns:
        A scalar, at least 0.
    """
    check_same_shape(mean_p=mean_p, log_std_p=log_std_p, mean_q=mean_q, log_std_q=log_std_q)
    return kl_standard_normal((mean_p - mean_q) * jnp.exp(-log_std_q), log_std_p - log_std_q)


def kl_standard_normal(mean: Array, log_std: Array) -> Array:
    """Return the Kullback-Leibler divergence from independent normal variables to N(0, I).

    KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ μ² + σ² − 1 − 2 log σ

    See Kingma & Welling, 2014 (arXiv:1312.6114), appendix B.

    Args:
        mean: [...], μ.
        log_std: [...], log σ: the logarithm of the standard deviation, not of the variance.

    Returns:
        A scalar, at least 0.
    """
    check_same_shape(mean=mean, log_std=log_std)
    return (0.5 * (mean**2 + jnp.expm1(2 * log_std)) - log_std).sum()  # expm1 keeps the digits near σ = 1


def js_divergence(logits_p: Array, logits_q: Array, *, base: float = math.e) -> Array:
    """Return the Jensen-Shannon divergence of two categorical distributions.

    JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m),  m = ½ (p + q)

    See Lin, 1991.

    Args:
        logits_p: [C], log p up to a constant.
        logits_q: [C], log q up to a constant.
        base: of the logarithm; 2 gives bits.

    Returns:
        A scalar in [0, log 2].
    """
    check_rank(1, logits_p=logits_p, logits_q=logits_q)
    check_same_shape(logits_p=logits_p, logits_q=logits_q)
    p, q = jax.nn.softmax(logits_p), jax.nn.softmax(logits_q)
    doubled = p + q  # 2m: half of the smallest numbers is zero
    return 0.25 * (rel_entr(2 * p, doubled) + rel_entr(2 * q, doubled)).sum() / math.log(base)


def f_divergence(probs_p: Array, probs_q: Array, generator: Callable[[Array], Array]) -> Array:
    """Return the f-divergence of two distributions on a finite set.

    D_f(P ‖ Q) = Σ q f(p/q);  where q = 0 the term is p · lim f(t)/t for t → ∞, where p = q = 0 it is 0.

    See Csiszár, 1967; Ali & Silvey, 1966.

    Args:
        probs_p: [C], probabilities p.
        probs_q: [C], probabilities q.
        generator: f, elementwise and convex with f(1) = 0 and its limit at 0, such as `kl_generator`.

    Returns:
        A scalar, at least 0; infinite where the divergence is.
    """
    check_rank(1, probs_p=probs_p, probs_q=probs_q)
    check_same_shape(probs_p=probs_p, probs_q=probs_q)
    inside, outside = probs_q > 0, (probs_q == 0) & (probs_p > 0)
    ratio = jnp.where(inside, probs_p, 1.0) / jnp.where(inside, probs_q, 1.0)
    slope = jnp.where(outside, _slope_at_infinity(generator), 0.0)
    return jnp.where(inside, probs_q * generator(ratio), probs_p * slope).sum()


def kl_generator(t: Array) -> Array:
    """Return f(t) = t log t, the generator of KL(P ‖ Q).

    Args:
        t: [...], ratios p/q.

    Returns:
        [...], f(t).
    """
    return rel_entr(t, 1.0)


def reverse_kl_generator(t: Array) -> Array:
    """Return f(t) = −log t, the generator of KL(Q ‖ P).

    Args:
        t: [...], ratios p/q.

    Returns:
        [...], f(t).
    """
    return -jnp.log(t)


def squared_hellinger_generator(t: Array) -> Array:
    """Return f(t) = (√t − 1)², a generator of the squared Hellinger distance Σ (√p − √q)².

    Args:
        t: [...], ratios p/q.

    Returns:
        [...], f(t).
    """
    return (_sqrt(t) - 1) ** 2


def squared_hellinger_affinity_generator(t: Array) -> Array:
    """Return f(t) = 2 (1 − √t), which differs from (√t − 1)² by t − 1 and gives the same divergence.

    Args:
        t: [...], ratios p/q.

    Returns:
        [...], f(t).
    """
    return 2 * (1 - _sqrt(t))


def total_variation_generator(t: Array) -> Array:
    """Return f(t) = ½ |t − 1|, the generator of the total variation ½ Σ |p − q|.

    Args:
        t: [...], ratios p/q.

    Returns:
        [...], f(t).
    """
    return 0.5 * absolute(t - 1)


def wasserstein1_1d(x: Array, y: Array) -> Array:
    """Return the Wasserstein-1 distance of two samples on the line.

    W₁ = ∫ |F(t) − G(t)| dt, F and G the empirical distribution functions.

    See Villani, "Optimal Transport", 2009.

    Args:
        x: [N].
        y: [M].

    Returns:
        A scalar, in the units of x.
    """
    check_rank(1, x=x, y=y)
    t = jnp.sort(jnp.concatenate([x, y]))
    f = jnp.searchsorted(jnp.sort(x), t, side="right") / x.shape[0]
    g = jnp.searchsorted(jnp.sort(y), t, side="right") / y.shape[0]
    return jnp.abs(f - g)[:-1] @ jnp.diff(t)


def mmd(x: Array, y: Array, kernel: Callable[[Array, Array], Array]) -> Array:
    """Return the squared maximum mean discrepancy of two samples.

    MMD² = mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y), the means over all pairs, i = j included.

    See Gretton et al., "A Kernel Two-Sample Test", 2012.

    Args:
        x: [N, D].
        y: [M, D].
        kernel: (x [D], y [D]) -> scalar, positive definite, such as `gaussian_kernel`.

    Returns:
        A scalar, at least 0.
    """
    check_rank(2, x=x, y=y)
    check_same_shape(point_of_x=x[0], point_of_y=y[0])
    gram = jax.vmap(jax.vmap(kernel, in_axes=(None, 0)), in_axes=(0, None))
    return gram(x, x).mean() + gram(y, y).mean() - 2 * gram(x, y).mean()


def gaussian_kernel(x: Array, y: Array, *, bandwidth: float | Array = 1.0) -> Array:
    """Return the similarity of two points.

    k(x, y) = exp(−‖x − y‖²/2h²)

    Args:
        x: [D].
        y: [D].
        bandwidth: scalar, h, in the units of x.

    Returns:
        A scalar in [0, 1].
    """
    check_rank(1, x=x, y=y)
    check_same_shape(x=x, y=y)
    return jnp.exp(-0.5 * jnp.sum((x - y) ** 2) / bandwidth**2)


def _expect(log_p: Array, value: Array) -> Array:
    """Return Σ p value; a value that never occurs (p = 0) may be infinite."""
    p = jnp.exp(log_p)
    return (p * jnp.where(p > 0, value, 0.0)).sum()


def _sqrt(t: Array) -> Array:
    """Return √t with slope 0 at 0, where the true slope is infinite."""
    positive = t > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, t, 1.0)), 0.0)


def _slope_at_infinity(f: Callable[[Array], Array]) -> Array:
    """Return lim f(t)/t, read off near the end of float32; infinite where it still grows there."""
    near, far = (f(jnp.asarray(t, jnp.float32)) / t for t in (1e18, 1e36))
    return jnp.where(far > 1.5 * jnp.maximum(near, 0.0) + 1e-6, jnp.inf, far)
