"""Losses of a prediction against a target.

Each loss sums over the axes of the one example that it is given.
"""

import jax
import jax.numpy as jnp
import optax

from jaxdl.objectives._absolute import absolute
from jaxdl.objectives._check import check_label, check_rank, check_same_shape, check_shape
from jaxdl.types import Array


def softmax_cross_entropy(logits: Array, label: Array) -> Array:
    """Score class logits against a class, or against a distribution over classes.

    −log softmax(l)_y = log Σₖ exp lₖ − l_y, or −Σₖ yₖ log softmax(l)ₖ

    See Bridle, 1990.

    Args:
        logits: [C], class logits.
        label: integer scalar, the class y; or [C], class probabilities such as `smooth_labels` gives.

    Returns:
        A scalar in nats.
    """
    check_rank(1, logits=logits)
    label = jnp.asarray(label)
    check_label(label, logits)
    if label.ndim == 0:
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
    return optax.losses.safe_softmax_cross_entropy(logits, label)


def sigmoid_cross_entropy(logits: Array, label: Array) -> Array:
    """Score the logits of independent yes-or-no answers, summed over them.

    −Σₖ [yₖ log σ(lₖ) + (1 − yₖ) log(1 − σ(lₖ))], with 1 − σ(l) = σ(−l)

    See Cox, 1958.

    Args:
        logits: [...], logits: a scalar, [C] labels that do not exclude one another, or a mask.
        label: [...], zeros and ones, or probabilities.

    Returns:
        A scalar in nats.
    """
    check_same_shape(logits=logits, label=label)
    return optax.losses.sigmoid_binary_cross_entropy(jnp.asarray(logits), jnp.asarray(label)).sum()


def squared_loss(prediction: Array, target: Array) -> Array:
    """Measure the squared distance.

    ‖ŷ − y‖² = Σᵢ (ŷᵢ − yᵢ)²

    Args:
        prediction: [...], ŷ.
        target: [...], y.

    Returns:
        A scalar.
    """
    check_same_shape(prediction=prediction, target=target)
    return jnp.sum((prediction - target) ** 2)


def absolute_loss(prediction: Array, target: Array) -> Array:
    """Measure the absolute distance.

    ‖ŷ − y‖₁ = Σᵢ |ŷᵢ − yᵢ|

    Args:
        prediction: [...], ŷ.
        target: [...], y.

    Returns:
        A scalar.
    """
    check_same_shape(prediction=prediction, target=target)
    return absolute(prediction - target).sum()


def huber_loss(prediction: Array, target: Array, delta: float = 1.0) -> Array:
    """Measure a distance that is quadratic near zero and linear beyond δ, summed over the entries.

    ½e² where |e| ≤ δ, δ(|e| − ½δ) beyond, e = ŷ − y

    See Huber, 1964. δ = 1 is the smooth L1 loss of Fast R-CNN.

    Args:
        prediction: [...], ŷ.
        target: [...], y.
        delta: where the loss turns linear, in units of the target.

    Returns:
        A scalar.
    """
    check_same_shape(prediction=prediction, target=target)
    return optax.losses.huber_loss(jnp.asarray(prediction), target, delta=delta).sum()


def hinge_loss(score: Array, label: Array) -> Array:
    """Score the signed distance from a separating surface.

    max(0, 1 − y·s)

    See Cortes & Vapnik, 1995.

    Args:
        score: scalar, score s of the positive class.
        label: scalar, y in {−1, 1}.

    Returns:
        A scalar.
    """
    check_rank(0, score=score, label=label)
    return optax.losses.hinge_loss(score, label)


def multiclass_hinge_loss(scores: Array, label: Array) -> Array:
    """Score the margin between the right class and the best of the others.

    maxₖ (sₖ + 1[k ≠ y]) − s_y

    See Crammer & Singer, 2001.

    Args:
        scores: [C], one score per class.
        label: integer scalar, the class y.

    Returns:
        A scalar.
    """
    check_rank(1, scores=scores)
    check_rank(0, label=label)
    return optax.losses.multiclass_hinge_loss(scores, label)


def focal_loss(logits: Array, label: Array, gamma: float = 2.0, alpha: float = 0.25) -> Array:
    """Score yes-or-no answers with less weight on those that are already right, summed over them.

    −Σₖ α_t (1 − p_t)^γ log p_t, with p_t = σ(l), α_t = α where y = 1, and 1 − σ(l), 1 − α where y = 0

    See Lin et al., 2017 (arXiv:1708.02002). A detector divides by the number of its positive anchors.

    Args:
        logits: [...], logits.
        label: [...], zeros and ones.
        gamma: focusing exponent; 0 gives the weighted cross-entropy.
        alpha: weight of the positive answers.

    Returns:
        A scalar.
    """
    check_same_shape(logits=logits, label=label)
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    return optax.losses.sigmoid_focal_loss(logits, label, alpha=alpha, gamma=gamma).sum()


def smooth_labels(label: Array, alpha: float = 0.1) -> Array:
    """Mix a one-hot label with the uniform distribution.

    (1 − α) y + α/C

    See Szegedy et al., 2016 (arXiv:1512.00567).

    Args:
        label: [C], one-hot label or class probabilities.
        alpha: weight of the uniform distribution.

    Returns:
        [C], class probabilities for `softmax_cross_entropy`.
    """
    check_rank(1, label=label)
    return optax.losses.smooth_labels(label, alpha)


def distillation_loss(student_logits: Array, teacher_logits: Array, temperature: float = 1.0) -> Array:
    """Compare a student's softened class probabilities with a teacher's.

    T² KL(softmax(t/T) ‖ softmax(s/T)), where T² keeps the gradient's scale as T varies

    See Hinton, Vinyals & Dean, 2015 (arXiv:1503.02531). It differs from the cross-entropy of the paper by
    the teacher's entropy, so that a perfect student scores zero.

    Args:
        student_logits: [C], class logits s.
        teacher_logits: [C], class logits t.
        temperature: T > 0; higher is softer.

    Returns:
        A scalar in nats.
    """
    check_rank(1, student_logits=student_logits, teacher_logits=teacher_logits)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    log_student = jax.nn.log_softmax(student_logits / temperature)
    log_teacher = jax.nn.log_softmax(teacher_logits / temperature)
    return temperature**2 * optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)


def dice_loss(logits: Array, target: Array, smooth: float = 1.0) -> Array:
    """Compare a predicted mask with the true one by twice the overlap over the sum of the areas.

    1 − (2 Σᵢ pᵢyᵢ + s) / (Σᵢ pᵢ + Σᵢ yᵢ + s), p = σ(l)

    See Milletari, Navab & Ahmadi, 2016, V-Net (arXiv:1606.04797), whose areas sum squares instead.

    Args:
        logits: [...], mask logits of one class.
        target: [...], mask of zeros and ones.
        smooth: s > 0 that defines the loss of two empty masks as zero.

    Returns:
        A scalar in [0, 1).
    """
    check_same_shape(logits=logits, target=target)
    p = jax.nn.sigmoid(logits)
    return 1 - (2 * (p * target).sum() + smooth) / (p.sum() + jnp.sum(target) + smooth)


def jaccard_loss(logits: Array, target: Array, smooth: float = 1.0) -> Array:
    """Compare a predicted mask with the true one by intersection over union (Jaccard's index).

    1 − (Σᵢ pᵢyᵢ + s) / (Σᵢ pᵢ + Σᵢ yᵢ − Σᵢ pᵢyᵢ + s), p = σ(l)

    See Rahman & Wang, 2016. For boxes there is `iou_loss`.

    Args:
        logits: [...], mask logits of one class.
        target: [...], mask of zeros and ones.
        smooth: s > 0 that defines the loss of two empty masks as zero.

    Returns:
        A scalar in [0, 1).
    """
    check_same_shape(logits=logits, target=target)
    p = jax.nn.sigmoid(logits)
    intersection = (p * target).sum()
    return 1 - (intersection + smooth) / (p.sum() + jnp.sum(target) - intersection + smooth)


def iou_loss(box: Array, target: Array) -> Array:
    """Compare two boxes by their intersection over union.

    1 − |A ∩ B|/|A ∪ B|, without a gradient where they do not meet; see `giou_loss`

    See Yu et al., 2016 (arXiv:1608.01471). Corners given in the wrong order are swapped, and the ratio of two
    empty areas counts as zero.

    Args:
        box: [4], predicted box, x1, y1, x2, y2.
        target: [4], true box.

    Returns:
        A scalar in [0, 1].
    """
    intersection, union, _ = _areas(box, target)
    return 1 - _ratio(intersection, union)


def giou_loss(box: Array, target: Array) -> Array:
    """Compare two boxes by their generalised intersection over union.

    1 − GIoU, GIoU = |A ∩ B|/|A ∪ B| − (|C| − |A ∪ B|)/|C|, C the smallest box around both

    See Rezatofighi et al., 2019 (arXiv:1902.09630). Degenerate boxes count as in `iou_loss`.

    Args:
        box: [4], predicted box, x1, y1, x2, y2.
        target: [4], true box.

    Returns:
        A scalar in [0, 2].
    """
    intersection, union, hull = _areas(box, target)
    return 1 - _ratio(intersection, union) + _ratio(hull - union, hull)


def _areas(box: Array, target: Array) -> tuple[Array, Array, Array]:
    """Measure the intersection, the union, and the smallest box around two boxes."""
    check_shape((4,), box=box, target=target)
    low_a, high_a = jnp.minimum(box[:2], box[2:]), jnp.maximum(box[:2], box[2:])
    low_b, high_b = jnp.minimum(target[:2], target[2:]), jnp.maximum(target[:2], target[2:])
    area = lambda low, high: jnp.prod(jax.nn.relu(high - low))
    intersection = area(jnp.maximum(low_a, low_b), jnp.minimum(high_a, high_b))
    union = area(low_a, high_a) + area(low_b, high_b) - intersection
    return intersection, union, area(jnp.minimum(low_a, low_b), jnp.maximum(high_a, high_b))


def _ratio(part: Array, whole: Array) -> Array:
    # Both branches of a where are differentiated, so the denominator is made safe inside it too.
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def ctc_loss(
    logits: Array,
    labels: Array,
    logit_mask: Array | None = None,
    label_mask: Array | None = None,
    *,
    blank: int = 0,
) -> Array:
    """Score a labelling of an unsegmented sequence, summed over all its alignments.

    −log Σ_π ∏ₜ softmax(lₜ)_πₜ over the paths π [T] that collapse to the labels when repeats are merged
    and then blanks removed

    See Graves et al., 2006.

    Args:
        logits: [T, C], class logits of the frames, one class being the blank.
        labels: [N], integer classes, without blanks.
        logit_mask: [T], 1 on the frames to keep, 0 on the padding after them; all are kept by default.
        label_mask: [N], 1 on the labels to keep, 0 on the padding after them; all are kept by default.
        blank: class of the blank.

    Returns:
        A scalar in nats; 1e30 where the labels do not fit into the frames.
    """
    check_rank(2, logits=logits)
    check_rank(1, labels=labels)
    logit_mask = jnp.ones(logits.shape[0]) if logit_mask is None else logit_mask
    label_mask = jnp.ones(labels.shape[0]) if label_mask is None else label_mask
    check_same_shape(logit_mask=logit_mask, frames=logits[:, 0])
    check_same_shape(label_mask=label_mask, labels=labels)
    # optax takes a batch, marks the padding by 1, and writes log 0 as -1e5, which long sequences reach.
    batch = (logits, 1 - logit_mask, labels, 1 - label_mask)
    return optax.losses.ctc_loss(*(x[None] for x in batch), blank_id=blank, log_epsilon=-1e30)[0]


def skip_gram_negative_sampling_loss(center: Array, context: Array, negatives: Array) -> Array:
    """Tell a word of the context from words drawn at random.

    −log σ(uₒᵀv) − Σₖ log σ(−uₖᵀv)

    See Mikolov et al., 2013 (arXiv:1310.4546).

    Args:
        center: [D], input vector v of the centre word.
        context: [D], output vector uₒ of a word in its context.
        negatives: [K, D], output vectors uₖ of random words.

    Returns:
        A scalar in nats.
    """
    check_rank(1, center=center, context=context)
    check_rank(2, negatives=negatives)
    check_same_shape(center=center, context=context)
    check_shape((len(negatives), *center.shape), negatives=negatives)
    return jax.nn.softplus(-context @ center) + jax.nn.softplus(negatives @ center).sum()


def cbow_loss(context: Array, output_embedding: Array, label: Array, mask: Array | None = None) -> Array:
    """Predict the centre word from the mean of its context (a continuous bag of words).

    −log softmax(U h)_y, h = Σᵢ mᵢvᵢ / Σᵢ mᵢ

    See Mikolov et al., 2013 (arXiv:1301.3781).

    Args:
        context: [M, D], input vectors vᵢ of the words around.
        output_embedding: [V, D], output vectors U of the vocabulary.
        label: integer scalar, the centre word y.
        mask: [M], 1 on the context words to keep; all are kept by default, and h = 0 without any.

    Returns:
        A scalar in nats.
    """
    check_rank(2, context=context, output_embedding=output_embedding)
    check_shape((len(output_embedding), context.shape[1]), output_embedding=output_embedding)
    mask = jnp.ones(context.shape[0]) if mask is None else mask
    check_same_shape(mask=mask, words=context[:, 0])
    h = mask @ context / jnp.maximum(mask.sum(), 1)
    return softmax_cross_entropy(output_embedding @ h, label)
