import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import expit as sigmoid
from scipy.special import huber, log_expit, log_softmax, rel_entr, softmax
from sklearn import metrics

from jaxdl import objectives

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 1, 2])
MULTI_LABELS = np.float32(RNG.random((6, 4)) < 0.5)


def check_gradient(loss, *args):
    check_grads(jax.jit(loss), args, order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_softmax_cross_entropy():
    value = jax.jit(jax.vmap(objectives.softmax_cross_entropy))(LOGITS, LABELS)
    np.testing.assert_allclose(value.mean(), metrics.log_loss(LABELS, softmax(LOGITS, axis=1)), rtol=1e-5)
    grad = jax.grad(objectives.softmax_cross_entropy)(LOGITS[0], 2)
    np.testing.assert_allclose(grad, softmax(LOGITS[0]) - np.eye(4)[2], atol=1e-6)  # p − y


def test_softmax_cross_entropy_weighs_by_the_label():
    # ‼ F31: the factor y is missing from the printed loss.
    label = np.array([0.5, 0.2, 0.3, 0.0], np.float32)
    value, grad = jax.value_and_grad(objectives.softmax_cross_entropy)(LOGITS[0], label)
    np.testing.assert_allclose(value, -(label * log_softmax(LOGITS[0])).sum(), rtol=1e-5)
    np.testing.assert_allclose(grad, softmax(LOGITS[0]) - label, atol=1e-6)
    hard = objectives.softmax_cross_entropy(LOGITS[0], jnp.eye(4)[2])
    np.testing.assert_allclose(hard, objectives.softmax_cross_entropy(LOGITS[0], 2), rtol=1e-6)


def test_softmax_cross_entropy_takes_no_logarithm_of_a_probability():
    # ‼ F31: log(softmax) as in the notes' code is log 0 here.
    logits = jnp.array([1e4, -1e4])
    np.testing.assert_allclose(objectives.softmax_cross_entropy(logits, 1), 2e4)
    masked = jnp.array([0.0, -jnp.inf, 0.0])
    np.testing.assert_allclose(objectives.softmax_cross_entropy(masked, jnp.array([0.5, 0, 0.5])), np.log(2))


@pytest.mark.parametrize(
    ("label", "given"),
    [
        (np.zeros(4, np.int32), r"int32\[4\]"),  # a batch, or one-hot as integers
        (np.zeros(3, np.float32), r"float32\[3\]"),
        (np.zeros((2, 4), np.float32), r"float32\[2, 4\]"),
        (1.0, r"float32\[\]"),
    ],
)
def test_softmax_cross_entropy_says_what_a_label_is(label, given):
    with pytest.raises(AssertionError, match=rf"label is {given}; .*integer scalar.*floats \[4\].*vmap"):
        objectives.softmax_cross_entropy(LOGITS[0], label)


def test_sigmoid_cross_entropy_sums_over_independent_labels():
    value = jax.jit(jax.vmap(objectives.sigmoid_cross_entropy))(LOGITS, MULTI_LABELS)
    probs = sigmoid(np.float64(LOGITS))
    # ‼ F27: the notes print the log-likelihood, without the minus.
    expected = -(MULTI_LABELS * np.log(probs) + (1 - MULTI_LABELS) * np.log(1 - probs)).sum(1)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    grad = jax.grad(objectives.sigmoid_cross_entropy)(LOGITS[0], MULTI_LABELS[0])
    np.testing.assert_allclose(grad, probs[0] - MULTI_LABELS[0], atol=1e-6)


@pytest.mark.parametrize(
    ("logit", "label", "expected"), [(1e4, 1, 0), (1e4, 0, 1e4), (-1e4, 1, 1e4), (0, 0.3, np.log(2))]
)
def test_sigmoid_cross_entropy_by_hand(logit, label, expected):
    value = objectives.sigmoid_cross_entropy(jnp.float32(logit), jnp.float32(label))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        (objectives.squared_loss, lambda e: e**2),
        (objectives.absolute_loss, np.abs),
        (objectives.huber_loss, lambda e: huber(1.0, e)),
        (lambda x, y: objectives.huber_loss(x, y, delta=0.3), lambda e: huber(0.3, e)),
    ],
    ids=["squared", "absolute", "huber", "huber(delta=0.3)"],
)
def test_regression_losses_sum_over_the_example(loss, oracle):
    prediction, target = np.array([[1.0, -2.0], [0.25, 0.1]], "f"), np.array([[3.0, -1.75], [0.15, 2.0]], "f")
    np.testing.assert_allclose(
        jax.jit(loss)(prediction, target), oracle(prediction - target).sum(), rtol=1e-6
    )
    check_gradient(loss, prediction, target)
    np.testing.assert_array_equal(jax.grad(loss)(target, target), 0)
    with pytest.raises(AssertionError, match="vmap"):
        loss(prediction, target[0])


def test_hinge_losses():
    scores, labels = np.array([-2.0, 0.3, 0.9, 4.0], "f"), np.array([1, -1, 1, 1])
    value = jax.vmap(objectives.hinge_loss)(scores, labels)
    np.testing.assert_allclose(value, [3, 1.3, 0.1, 0], rtol=1e-5)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(objectives.hinge_loss))(scores, jnp.float32(labels)), [-1, 1, -1, 0]
    )
    value = jax.vmap(objectives.multiclass_hinge_loss)(LOGITS, LABELS)
    np.testing.assert_allclose(value.mean(), metrics.hinge_loss(LABELS, LOGITS), rtol=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.9), (0.0, 0.5)])
def test_focal_loss(gamma, alpha):
    logits, label = np.float64(LOGITS[0]), MULTI_LABELS[0]
    p_t = np.where(label, sigmoid(logits), 1 - sigmoid(logits))
    alpha_t = np.where(label, alpha, 1 - alpha)
    loss = lambda logits: objectives.focal_loss(logits, label, gamma=gamma, alpha=alpha)
    np.testing.assert_allclose(
        loss(LOGITS[0]), -(alpha_t * (1 - p_t) ** gamma * np.log(p_t)).sum(), rtol=1e-5
    )
    check_gradient(loss, LOGITS[0])


def test_smooth_labels():
    np.testing.assert_allclose(
        objectives.smooth_labels(jnp.eye(4)[1], alpha=0.2), [0.05, 0.85, 0.05, 0.05], rtol=1e-6
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_loss(temperature):
    student, teacher = LOGITS[:2]
    p, q = (softmax(np.float64(logits) / temperature) for logits in (teacher, student))
    loss = lambda student: objectives.distillation_loss(student, teacher, temperature=temperature)
    np.testing.assert_allclose(loss(student), temperature**2 * rel_entr(p, q).sum(), rtol=1e-4)
    check_gradient(loss, student)


def test_distillation_matches_logits_at_high_temperature():
    # Hinton et al.: for zero-mean logits the gradient tends to (s − t)/C, whatever the temperature.
    student, teacher = LOGITS[:2] - LOGITS[:2].mean(1, keepdims=True)
    grad = jax.grad(objectives.distillation_loss)(student, teacher, temperature=100.0)
    np.testing.assert_allclose(grad, (student - teacher) / 4, atol=1e-2)


def test_overlap_losses_count_pixels():
    target = np.float32([[1, 1, 0], [1, 0, 0]])
    logits = 1e4 * np.float32([[1, -1, -1], [1, 1, -1]])  # overlap 2, union 4, areas 3 and 3
    np.testing.assert_allclose(objectives.dice_loss(logits, target, smooth=0.5), 1 - 4.5 / 6.5, rtol=1e-6)
    np.testing.assert_allclose(objectives.jaccard_loss(logits, target, smooth=0.5), 1 - 2.5 / 4.5, rtol=1e-6)


@pytest.mark.parametrize("loss", [objectives.dice_loss, objectives.jaccard_loss])
def test_overlap_losses_of_empty_and_soft_masks(loss):
    assert loss(jnp.full((2, 2), -1e4), jnp.zeros((2, 2))) == 0
    check_gradient(lambda logits: loss(logits, MULTI_LABELS), LOGITS)
    with pytest.raises(AssertionError, match="vmap"):
        loss(LOGITS, MULTI_LABELS[0])


def count_cells(box, target):
    """Return 1 − IoU and 1 − GIoU of boxes with integer corners by counting unit cells."""
    x, y = np.meshgrid(np.arange(10), np.arange(10))
    inside = lambda x1, y1, x2, y2: (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
    a, b = inside(*box), inside(*target)
    hull = inside(*np.minimum(box, target)[:2], *np.maximum(box, target)[2:])
    union = (a | b).sum()
    iou = (a & b).sum() / union
    return 1 - iou, 1 - iou + (hull.sum() - union) / hull.sum()


@pytest.mark.parametrize(("index", "loss"), list(enumerate([objectives.iou_loss, objectives.giou_loss])))
def test_box_losses_count_cells(index, loss):
    low = RNG.integers(0, 5, (40, 2, 2))
    boxes = np.concatenate([low, low + RNG.integers(1, 6, (40, 2, 2))], axis=-1)
    value = jax.vmap(loss)(np.float32(boxes[:, 0]), np.float32(boxes[:, 1]))
    expected = [count_cells(*pair)[index] for pair in boxes]
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    swapped = np.float32(boxes[:, 0][:, [2, 1, 0, 3]])
    np.testing.assert_allclose(jax.vmap(loss)(swapped, np.float32(boxes[:, 1])), value, rtol=1e-6)


def test_giou_loss_pulls_distant_boxes_together():
    box, target = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([3.0, 0.0, 4.0, 1.0])
    np.testing.assert_allclose(objectives.giou_loss(box, target), 1.5, rtol=1e-6)
    check_gradient(lambda box: objectives.giou_loss(box, target), box + jnp.array([0.0, 0.1, 0.0, 0.2]))
    grad = jax.grad(objectives.giou_loss)(box, target)
    assert grad[0] + grad[2] < 0  # a step to the right


@pytest.mark.parametrize("loss", [objectives.iou_loss, objectives.giou_loss])
@pytest.mark.parametrize("target", [[1.0, 1, 1, 1], [0, 1, 2, 1], [3, 0, 5, 2]])
def test_box_losses_of_degenerate_boxes_are_finite(target, loss):
    value, grad = jax.value_and_grad(loss)(jnp.ones(4), jnp.array(target))
    assert 0 <= value <= 2
    assert np.isfinite(grad).all()


ctc_loss = jax.jit(objectives.ctc_loss, static_argnames="blank")


def enumerate_alignments(logits, labels, blank=0):
    """Return −log of the summed probability of every path that collapses to the labels."""
    log_probs = log_softmax(np.float64(logits), axis=1)
    total = -np.inf
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if [k for k, _ in itertools.groupby(path) if k != blank] == list(labels):
            total = np.logaddexp(total, log_probs[range(len(path)), path].sum())
    return -total


@pytest.mark.parametrize("labels", [[1, 2], [1, 1], [2], [2, 1, 2]])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_ctc_loss_sums_over_alignments(labels, scale):
    logits = scale * np.float32(RNG.normal(size=(5, 3)))
    value = ctc_loss(logits, jnp.array(labels))
    np.testing.assert_allclose(value, enumerate_alignments(logits, labels), rtol=1e-5)


def test_ctc_loss_is_exact_where_every_path_is_unlikely():
    logits = 1e4 * jnp.tile(jnp.array([-1.0, -1.0, 1.0]), (7, 1))
    np.testing.assert_allclose(ctc_loss(logits, jnp.array([1])), 14e4 - np.log(28), rtol=1e-6)


def test_ctc_loss_ignores_padding_and_moves_the_blank():
    logits, labels = np.float32(RNG.normal(size=(6, 3))), jnp.array([1, 2, 2, 0])
    logit_mask, label_mask = jnp.array([1, 1, 1, 1, 0, 0]), jnp.array([1, 1, 0, 0])
    loss = lambda logits: ctc_loss(logits, labels, logit_mask, label_mask)
    np.testing.assert_allclose(loss(logits), enumerate_alignments(logits[:4], [1, 2]), rtol=1e-5)
    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(logits)[4:], 0)
    check_gradient(loss, logits)
    value = ctc_loss(logits[:4], jnp.array([0, 1]), blank=2)
    np.testing.assert_allclose(value, enumerate_alignments(logits[:4], [0, 1], blank=2), rtol=1e-5)


def test_ctc_loss_of_labels_that_do_not_fit():
    value, grad = jax.jit(jax.value_and_grad(objectives.ctc_loss))(jnp.zeros((2, 3)), jnp.array([1, 1]))
    np.testing.assert_allclose(value, 1e30)
    assert np.isfinite(grad).all()


def test_skip_gram_negative_sampling_loss():
    center, context, *negatives = LOGITS[:5]
    expected = -log_expit(context @ center) - log_expit(-(np.array(negatives) @ center)).sum()
    args = (center, context, np.array(negatives))
    np.testing.assert_allclose(objectives.skip_gram_negative_sampling_loss(*args), expected, rtol=1e-5)
    check_gradient(objectives.skip_gram_negative_sampling_loss, *args)


def test_cbow_loss_averages_the_context_that_is_there():
    context, vocabulary, mask = LOGITS[:3], LOGITS, np.array([1, 0, 1])
    for args, words in [((), [0, 1, 2]), ((mask,), [0, 2])]:
        expected = -log_softmax(vocabulary @ context[words].mean(0))[4]
        np.testing.assert_allclose(objectives.cbow_loss(context, vocabulary, 4, *args), expected, rtol=1e-5)
    check_gradient(lambda *args: objectives.cbow_loss(*args, 4, mask), context, vocabulary)


def test_cbow_loss_of_an_empty_context_is_uniform():
    value = objectives.cbow_loss(LOGITS[:3], LOGITS, 4, jnp.zeros(3))
    np.testing.assert_allclose(value, np.log(6), rtol=1e-6)


def test_nothing_is_broadcast():
    row, short = LOGITS[0], LOGITS[1, :1]
    for call, message in [
        (lambda: objectives.distillation_loss(row, short), r"student_logits .* teacher_logits .*vmap"),
        (lambda: objectives.giou_loss(row, short), r"target has shape \(1,\), but \(4,\) is expected$"),
        (lambda: objectives.iou_loss(row[:3], row[:3]), r"box has shape \(3,\), but \(4,\) is expected$"),
        (
            lambda: objectives.skip_gram_negative_sampling_loss(row, short, LOGITS),
            r"center .* context .*vmap",
        ),
        (
            lambda: objectives.skip_gram_negative_sampling_loss(row, row, LOGITS[:, :3]),
            r"negatives has shape \(6, 3\), but \(6, 4\) is expected$",
        ),
        (
            lambda: objectives.cbow_loss(LOGITS, LOGITS[:5, :3], 1),
            r"output_embedding has shape \(5, 3\), but \(5, 4\) is expected$",
        ),
        (lambda: objectives.cbow_loss(LOGITS, LOGITS[None], 1), r"output_embedding has .*vmap"),
        (lambda: objectives.cbow_loss(LOGITS, LOGITS, 1, short), r"mask .*vmap"),
        (lambda: objectives.ctc_loss(LOGITS[None], LABELS), r"logits has .*vmap"),
        (lambda: objectives.ctc_loss(LOGITS, LABELS, short), r"logit_mask .*vmap"),
        (lambda: objectives.ctc_loss(LOGITS, LABELS, None, short), r"label_mask .*vmap"),
    ]:
        with pytest.raises(AssertionError, match=message):
            call()
