"""Variational bounds on log p(x). All are maximised: negate them for an optimizer."""

import math

import jax
import jax.numpy as jnp

from jaxdl.objectives._check import check_rank, check_same_shape
from jaxdl.objectives.divergence import entropy, kl_categorical, kl_normal
from jaxdl.objectives.likelihood import categorical_log_prob, importance_weighted_log_likelihood
from jaxdl.objectives.sampling import sample_normal
from jaxdl.types import Array, Key


def reparameterize(key: Key, mean: Array, log_std: Array) -> Array:
    """Draw z ~ N(μ, σ²) as a differentiable function of μ and σ.

    z = μ + σ ε,  ε ~ N(0, I)

    See Kingma & Welling, 2014 (arXiv:1312.6114).

    Args:
        key: a PRNG key.
        mean: [...], μ.
        log_std: [...], log σ: the logarithm of the standard deviation, not of the variance.

    Returns:
        [...], one draw.
    """
    return sample_normal(key, mean, log_std)


def elbo(log_likelihood: Array, kl: Array, beta: float | Array = 1.0) -> Array:
    """Return the evidence lower bound of one example.

    ELBO = E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)) ≤ log p(x) for β ≥ 1

    See Kingma & Welling, 2014 (arXiv:1312.6114); β: Higgins et al., "beta-VAE", 2017.

    Args:
        log_likelihood: scalar, log p(x|z) at a draw of z, or its mean over draws.
        kl: scalar, KL(q(z|x) ‖ p(z)), or a draw of log q(z|x) − log p(z).
        beta: weight of the KL; 1 for a VAE.

    Returns:
        A scalar, in nats, to be maximised.
    """
    check_rank(0, log_likelihood=log_likelihood, kl=kl)
    return log_likelihood - beta * kl


def iwae_bound(log_weights: Array) -> Array:
    """Return the importance-weighted bound, which rises from the ELBO at K = 1 to log p(x).

    L_K = log (1/K) Σ_k w_k,  w_k = p(x, z_k)/q(z_k|x),  z_k ~ q(z|x)

    See Burda, Grosse & Salakhutdinov, 2016 (arXiv:1509.00519).

    Args:
        log_weights: [K], log p(x|z_k) + log p(z_k) − log q(z_k|x).

    Returns:
        A scalar, in nats, to be maximised.
    """
    return importance_weighted_log_likelihood(log_weights)


def m2_labelled_bound(elbo_given_label: Array, label: Array, prior_logits: Array) -> Array:
    """Return the semi-supervised bound of an example whose label is known.

    log p(x, y) ≥ ELBO(x|y) + log p(y),  ELBO(x|y) = E_q[log p(x|y, z)] − KL(q(z|x, y) ‖ p(z))

    The classifier q(y|x) has no part in it: train that by adding α log q(y|x), `categorical_log_prob`.

    See Kingma, Rezende, Mohamed & Welling, 2014 (arXiv:1406.5298), eq. 6 and 9.

    Args:
        elbo_given_label: scalar, ELBO(x|y) at the label.
        label: scalar integer in [0, C).
        prior_logits: [C], log p(y) up to a constant.

    Returns:
        A scalar, in nats, to be maximised.
    """
    check_rank(0, elbo_given_label=elbo_given_label, label=label)
    return elbo_given_label + categorical_log_prob(label, prior_logits)


def m2_unlabelled_bound(elbo_given_label: Array, label_logits: Array, prior_logits: Array) -> Array:
    """Return the semi-supervised bound of an example without a label, every label enumerated.

    log p(x) ≥ Σ_y q(y|x) ELBO(x|y) − KL(q(y|x) ‖ p(y))

    See Kingma, Rezende, Mohamed & Welling, 2014 (arXiv:1406.5298), eq. 7.

    Args:
        elbo_given_label: [C], ELBO(x|y) for each label, see `m2_labelled_bound`.
        label_logits: [C], log q(y|x) up to a constant.
        prior_logits: [C], log p(y) up to a constant.

    Returns:
        A scalar, in nats, to be maximised.
    """
    check_rank(1, elbo_given_label=elbo_given_label)
    check_same_shape(elbo_given_label=elbo_given_label, label_logits=label_logits, prior_logits=prior_logits)
    expected = jax.nn.softmax(label_logits) @ elbo_given_label
    return expected - kl_categorical(label_logits, prior_logits)


def gaussian_mixture_elbo(
    x: Array, assignment_logits: Array, mean: Array, log_std: Array, *, prior_std: float | Array
) -> Array:
    """Return the mean-field bound of a Bayesian mixture of unit-variance Gaussians.

    Model: μ_k ~ N(0, σ²), c_i ~ uniform over K, x_i ~ N(μ_{c_i}, 1).
    Family: q(μ_k) = N(m_k, s_k²), q(c_i = k) = φ_ik.

    ELBO = Σ_ik φ_ik E_q[log N(x_i; μ_k, 1)] − Σ_i KL(q(c_i) ‖ p(c)) − Σ_k KL(q(μ_k) ‖ p(μ))

    See Blei, Kucukelbir & McAuliffe, 2017 (arXiv:1601.00670), section 3.

    Args:
        x: [N, D], the whole data set: it is the one example here.
        assignment_logits: [N, K], log φ up to a constant per row.
        mean: [K, D], m.
        log_std: [K, D], log s.
        prior_std: σ.

    Returns:
        A scalar, in nats, to be maximised.
    """
    check_rank(2, x=x, assignment_logits=assignment_logits, mean=mean, log_std=log_std)
    check_same_shape(mean=mean, log_std=log_std)
    check_same_shape(point_of_x=x[0], component_of_mean=mean[0])
    second_moment = (x[:, None] - mean[None]) ** 2 + jnp.exp(2 * log_std)[None]  # E_q[(x − μ)²], [N, K, D]
    expected_log_prob = -0.5 * (second_moment + math.log(2 * math.pi)).sum(axis=-1)
    check_same_shape(assignment_logits=assignment_logits, expected_log_prob=expected_log_prob)
    expected = (jax.nn.softmax(assignment_logits) * expected_log_prob).sum()
    kl_assignment = math.log(mean.shape[0]) - jax.vmap(entropy)(assignment_logits)
    kl_mean = kl_normal(mean, log_std, jnp.zeros_like(mean), jnp.full_like(mean, jnp.log(prior_std)))
    return expected - kl_assignment.sum() - kl_mean
