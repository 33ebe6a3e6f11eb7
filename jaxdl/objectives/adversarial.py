"""Losses of the games between a generator and a discriminator, on logits.

A discriminator D = σ(logit) and a generator each minimise their own loss. A discriminator that judges
patches is a map of such games: give each patch its own vmap.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxdl.objectives._check import check_rank, check_same_shape
from jaxdl.objectives.supervised import absolute_loss, softmax_cross_entropy
from jaxdl.types import Array, Key


def minimax_discriminator_loss(real_logit: Array, fake_logit: Array) -> Array:
    """Score one real and one generated example in the original game.

    −log D(x) − log(1 − D(G(z))), with −log σ(a) = softplus(−a) and −log(1 − σ(a)) = softplus(a).

    See Goodfellow et al., 2014 (arXiv:1406.2661). At D = ½ it is log 4.

    Args:
        real_logit: scalar, logit of D on a data example.
        fake_logit: scalar, logit of D on a generated example.

    Returns:
        A scalar.
    """
    check_rank(0, real_logit=real_logit, fake_logit=fake_logit)
    return jax.nn.softplus(-real_logit) + jax.nn.softplus(fake_logit)


def minimax_generator_loss(fake_logit: Array) -> Array:
    """Score a generated example in the original, saturating game.

    log(1 − D(G(z))) = −softplus(logit)

    See Goodfellow et al., 2014 (arXiv:1406.2661).

    Args:
        fake_logit: scalar, logit of D on a generated example.

    Returns:
        A scalar ≤ 0.
    """
    check_rank(0, fake_logit=fake_logit)
    return -jax.nn.softplus(fake_logit)


def non_saturating_discriminator_loss(real_logit: Array, fake_logit: Array) -> Array:
    """Score one real and one generated example; the same loss as in the minimax game.

    −log D(x) − log(1 − D(G(z)))

    See Goodfellow et al., 2014, section 3 (arXiv:1406.2661).

    Args:
        real_logit: scalar, logit of D on a data example.
        fake_logit: scalar, logit of D on a generated example.

    Returns:
        A scalar.
    """
    return minimax_discriminator_loss(real_logit, fake_logit)


def non_saturating_generator_loss(fake_logit: Array) -> Array:
    """Score a generated example by the loss whose gradient survives a confident discriminator.

    −log D(G(z)) = softplus(−logit)

    See Goodfellow et al., 2014, section 3 (arXiv:1406.2661).

    Args:
        fake_logit: scalar, logit of D on a generated example.

    Returns:
        A scalar ≥ 0.
    """
    check_rank(0, fake_logit=fake_logit)
    return jax.nn.softplus(-fake_logit)


def wasserstein_discriminator_loss(real_logit: Array, fake_logit: Array) -> Array:
    """Score one real and one generated example by a critic, which has to be 1-Lipschitz.

    f(G(z)) − f(x)

    See Arjovsky, Chintala & Bottou, 2017 (arXiv:1701.07875).

    Args:
        real_logit: scalar, the critic's value on a data example.
        fake_logit: scalar, the critic's value on a generated example.

    Returns:
        A scalar; minus its batch mean estimates the Wasserstein-1 distance.
    """
    check_rank(0, real_logit=real_logit, fake_logit=fake_logit)
    return fake_logit - real_logit


def wasserstein_generator_loss(fake_logit: Array) -> Array:
    """Score a generated example by a critic.

    −f(G(z))

    See Arjovsky, Chintala & Bottou, 2017 (arXiv:1701.07875).

    Args:
        fake_logit: scalar, the critic's value on a generated example.

    Returns:
        A scalar.
    """
    check_rank(0, fake_logit=fake_logit)
    return -fake_logit


def hinge_discriminator_loss(real_logit: Array, fake_logit: Array) -> Array:
    """Score one real and one generated example with a margin of one.

    max(0, 1 − f(x)) + max(0, 1 + f(G(z)))

    See Lim & Ye, 2017 (arXiv:1705.02894).

    Args:
        real_logit: scalar, the critic's value on a data example.
        fake_logit: scalar, the critic's value on a generated example.

    Returns:
        A scalar.
    """
    check_rank(0, real_logit=real_logit, fake_logit=fake_logit)
    return jax.nn.relu(1 - real_logit) + jax.nn.relu(1 + fake_logit)


def hinge_generator_loss(fake_logit: Array) -> Array:
    """Score a generated example in the hinge game; no margin for the generator.

    −f(G(z))

    See Lim & Ye, 2017 (arXiv:1705.02894).

    Args:
        fake_logit: scalar, the critic's value on a generated example.

    Returns:
        A scalar.
    """
    return wasserstein_generator_loss(fake_logit)


def least_squares_discriminator_loss(real_logit: Array, fake_logit: Array) -> Array:
    """Score one real and one generated example by squared distance to the targets 1 and 0.

    ½(f(x) − 1)² + ½f(G(z))²

    See Mao et al., 2017 (arXiv:1611.04076).

    Args:
        real_logit: scalar, the discriminator's value on a data example.
        fake_logit: scalar, the discriminator's value on a generated example.

    Returns:
        A scalar.
    """
    check_rank(0, real_logit=real_logit, fake_logit=fake_logit)
    return 0.5 * (real_logit - 1) ** 2 + 0.5 * fake_logit**2


def least_squares_generator_loss(fake_logit: Array) -> Array:
    """Score a generated example by squared distance to the target 1.

    ½(f(G(z)) − 1)²

    See Mao et al., 2017 (arXiv:1611.04076).

    Args:
        fake_logit: scalar, the discriminator's value on a generated example.

    Returns:
        A scalar.
    """
    check_rank(0, fake_logit=fake_logit)
    return 0.5 * (fake_logit - 1) ** 2


def gradient_penalty(critic: Callable[[Array], Array], real: Array, fake: Array, key: Key) -> Array:
    """Penalise a critic whose slope between a real and a generated example is not one.

    (‖∇f(x̂)‖ − 1)², x̂ = εx + (1 − ε)G(z), ε ∼ U[0, 1]

    See Gulrajani et al., 2017 (arXiv:1704.00028). The paper weighs it by λ = 10.

    Args:
        critic: maps one example to a scalar.
        real: [...], a data example.
        fake: [...], a generated example.
        key: a PRNG key, for ε.

    Returns:
        A scalar. Where the gradient is zero, the gradient of its norm is taken as zero.
    """
    check_same_shape(real=real, fake=fake)
    epsilon = jax.random.uniform(key)
    gradient = jax.grad(_checked(critic))(epsilon * real + (1 - epsilon) * fake)
    return (optax.safe_norm(gradient.ravel(), 0.0) - 1) ** 2


def r1_penalty(critic: Callable[[Array], Array], real: Array) -> Array:
    """Penalise the slope of a discriminator at a data example.

    ‖∇f(x)‖²

    See Mescheder, Geiger & Nowozin, 2018 (arXiv:1801.04406). The paper weighs it by γ/2.

    Args:
        critic: maps one example to a scalar logit.
        real: [...], a data example.

    Returns:
        A scalar.
    """
    return (jax.grad(_checked(critic))(real) ** 2).sum()


def _checked(critic: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def scalar_critic(x: Array) -> Array:
        score = critic(x)
        check_rank(0, **{"critic(x)": score})
        return score

    return scalar_critic


def mutual_information_bound(code_log_prob: Array, code_entropy: Array) -> Array:
    """Bound from below the information that a generated example holds about its code.

    L_I = log Q(c∣G(z, c)) + H(c) ≤ I(c; G(z, c)) in expectation

    See Chen et al., 2016, InfoGAN (arXiv:1606.03657). The recogniser and the generator maximise it.

    Args:
        code_log_prob: scalar, log Q(c∣x) of the code that made the example, in nats.
        code_entropy: scalar, H(c) of the code's prior, in nats.

    Returns:
        A scalar in nats.
    """
    check_rank(0, code_log_prob=code_log_prob, code_entropy=code_entropy)
    return code_log_prob + code_entropy


def semi_supervised_discriminator_loss(
    logits: Array, label: Array, unlabelled_logits: Array, fake_logits: Array
) -> Array:
    """Score a classifier with K real classes and one generated class K + 1, whose logit is held at zero.

    −log p(y∣x, y ≤ K) − log D(x′) − log(1 − D(G(z))), D(x) = Z(x)/(Z(x) + 1), Z(x) = Σₖ exp lₖ(x)

    so that the logit of D is log Z, a log-sum-exp, and the last two terms are the minimax loss.

    See Salimans et al., 2016, section 5 (arXiv:1606.03498).

    Args:
        logits: [K], class logits of a labelled example.
        label: integer scalar, its class.
        unlabelled_logits: [K], class logits of an unlabelled data example.
        fake_logits: [K], class logits of a generated example.

    Returns:
        A scalar.
    """
    check_same_shape(logits=logits, unlabelled_logits=unlabelled_logits, fake_logits=fake_logits)
    supervised = softmax_cross_entropy(logits, label)
    log_z = jax.nn.logsumexp
    return supervised + minimax_discriminator_loss(log_z(unlabelled_logits), log_z(fake_logits))


def auxiliary_classifier_discriminator_loss(
    real_logit: Array,
    fake_logit: Array,
    real_class_logits: Array,
    fake_class_logits: Array,
    real_label: Array,
    fake_label: Array,
) -> Array:
    """Score a discriminator that also names the class of real and generated examples.

    −(L_S + L_C), L_S = log D(x) + log(1 − D(G)), L_C = log p(c = y∣x) + log p(c = y′∣G)

    See Odena, Olah & Shlens, 2017, AC-GAN (arXiv:1610.09585).

    Args:
        real_logit: scalar, logit of D on a data example.
        fake_logit: scalar, logit of D on a generated example.
        real_class_logits: [C], class logits of the data example.
        fake_class_logits: [C], class logits of the generated example.
        real_label: integer scalar, class of the data example.
        fake_label: integer scalar, class that the generator was asked for.

    Returns:
        A scalar.
    """
    source = minimax_discriminator_loss(real_logit, fake_logit)
    real_class = softmax_cross_entropy(real_class_logits, real_label)
    return source + real_class + softmax_cross_entropy(fake_class_logits, fake_label)


def auxiliary_classifier_generator_loss(
    fake_logit: Array, fake_class_logits: Array, fake_label: Array
) -> Array:
    """Score a generated example as real and as a member of the class that was asked for.

    −log D(G) − log p(c = y′∣G), the source term in its non-saturating form

    See Odena, Olah & Shlens, 2017, AC-GAN (arXiv:1610.09585).

    Args:
        fake_logit: scalar, logit of D on a generated example.
        fake_class_logits: [C], class logits of the generated example.
        fake_label: integer scalar, class that the generator was asked for.

    Returns:
        A scalar.
    """
    return non_saturating_generator_loss(fake_logit) + softmax_cross_entropy(fake_class_logits, fake_label)


def cycle_consistency_loss(x: Array, reconstruction: Array) -> Array:
    """Compare an example with its translation there and back.

    ‖F(G(x)) − x‖₁, summed over the example

    See Zhu et al., 2017, CycleGAN (arXiv:1703.10593). The authors' code takes the mean over the entries
    instead, at a weight of 10: divide by `x.size` to have it.

    Args:
        x: [...], an example.
        reconstruction: [...], F(G(x)).

    Returns:
        A scalar.
    """
    check_same_shape(x=x, reconstruction=reconstruction)
    return absolute_loss(reconstruction, x)


def optimal_discriminator(p_data: Array, p_g: Array) -> Array:
    """Evaluate the discriminator that is best against a fixed generator.

    D*(x) = p_data(x) / (p_data(x) + p_g(x)), and ½ where both densities vanish

    See Goodfellow et al., 2014, proposition 1 (arXiv:1406.2661).

    Args:
        p_data: [...], density of the data at one or more points.
        p_g: [...], density of the generator at the same points.

    Returns:
        [...], D*.
    """
    check_same_shape(p_data=p_data, p_g=p_g)
    total = p_data + p_g
    has_mass = total > 0
    return jnp.where(has_mass, p_data / jnp.where(has_mass, total, 1), 0.5)
