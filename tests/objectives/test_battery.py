"""What every objective has to satisfy, one row each. A public function without a row fails the last tests."""

import importlib
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import objectives

KEY = jax.random.key(0)
LOGITS = [0.3, -1.2, 0.8, 0.1]
HUGE = [1e4, -1e4, 0.0, 1e4]
REVERSED = [-1e4, 1e4, 1e4, 0.0]
ZEROS, ONES = [0.0] * 4, [1.0] * 4
BOXES = (
    ([0.0, 0.0, 2.0, 1.0], [1.0, 0.5, 3.0, 2.0]),
    (ZEROS, ZEROS),
    (HUGE, REVERSED),
    (ZEROS, [0.0, 0.0, 1.0, 1.0]),
    ([0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 2.0, 0.0]),
)
BITS = [0.0, 1.0, 1.0, 0.0]
PROBS, SPARSE = [0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.0, 0.5]
TABLE, SPARSE_TABLE = [[0.1, 0.2], [0.3, 0.4]], [[0.0, 0.5], [0.0, 0.5]]
HUGE_TABLE = [[1e4, -1e4], [-1e4, 1e4]]
LOG_STDS = [-9.0, 9.0, 0.0, -9.0]
GRID, ATOMS = [0.0, 0.25, 0.5, 1.0], [-0.5, 0.5]
P, R, V = [TABLE, SPARSE_TABLE], [[1.0, 2.0], [3.0, 4.0]], [0.5, -0.5]


class Row(NamedTuple):
    """Cases are the arrays of one call each, a typical one first and extreme ones after it."""

    cases: tuple[tuple, ...]
    call: Callable | None = None  # the objective with its keys, functions and hyper-parameters filled in
    any_rank: bool = False  # takes an example of any shape: a batch is then one larger example


def array(x):
    return jnp.asarray(x, jnp.float32 if np.asarray(x).dtype == np.float64 else None)


def row(*cases, call=None, any_rank=False):
    return Row(tuple(tuple(map(array, case)) for case in cases), call, any_rank)


def score(x):
    """Stand for a net that takes one example [4]."""
    return -x.ravel()[:4]


logits_row = row((0.5, -0.2), (1e4, 1e4), (-1e4, -1e4), (1e4, -1e4))
logit_row = row((0.5,), (1e4,), (-1e4,))
error_row = lambda *rest: row(
    (LOGITS, 1, 0.5, 0.9, LOGITS, *rest),
    (HUGE, 0, 1e4, 1.0, REVERSED, *rest),
    (ZEROS, 3, -1e4, 0.0, HUGE, *rest),
)

ROWS = {
    # likelihood
    "bernoulli_log_prob": row((BITS, LOGITS), (BITS, HUGE), (BITS, REVERSED), any_rank=True),
    "categorical_log_prob": row((2, LOGITS), (1, HUGE), (0, REVERSED), any_rank=True),
    "normal_log_prob": row((LOGITS, ZEROS, ONES), (HUGE, REVERSED, LOG_STDS), any_rank=True),
    "standard_normal_log_prob": row((LOGITS,), (HUGE,), any_rank=True),
    "laplace_log_prob": row((LOGITS, ZEROS, ONES), (HUGE, REVERSED, LOG_STDS), any_rank=True),
    "logistic_log_prob": row((LOGITS, ZEROS, ONES), (HUGE, REVERSED, LOG_STDS), any_rank=True),
    "discretized_logistic_log_prob": row(
        (GRID, PROBS, ZEROS),
        (GRID, HUGE, REVERSED),
        (GRID, REVERSED, REVERSED),
        call=partial(objectives.discretized_logistic_log_prob, bins=5),
        any_rank=True,
    ),
    "discretized_logistic_mixture_log_prob": row(
        ([0.0, 0.5], TABLE, TABLE, TABLE),
        ([0.5, 1.0], HUGE_TABLE, [[1e4, 0.0], [0.0, 1e4]], HUGE_TABLE[::-1]),
        call=partial(objectives.discretized_logistic_mixture_log_prob, bins=5),
        any_rank=True,
    ),
    "normal_mixture_log_prob": row(
        ([0.0, 0.5], TABLE, TABLE, TABLE),
        ([1e4, 0.0], HUGE_TABLE, TABLE, [[-9.0, 9.0], [9.0, -9.0]]),
        any_rank=True,
    ),
    "multivariate_normal_log_prob": row(
        (V, V, [[1.0, 0.0], [0.5, 2.0]]), ([1e4, -1e4], V, [[1e-3, 0.0], [1e3, 1e-3]])
    ),
    "bits_per_dim": row((2.0,), (1e4,), call=partial(objectives.bits_per_dim, num_dims=3)),
    "importance_weighted_log_likelihood": row((LOGITS,), (HUGE,), (REVERSED,)),
    "map_penalty": row(
        (LOGITS,),
        (HUGE,),
        call=lambda theta: objectives.map_penalty({"w": theta}, objectives.standard_normal_log_prob),
        any_rank=True,
    ),
    "normal_log_prior": row(
        (LOGITS,), (HUGE,), call=partial(objectives.normal_log_prior, std=0.1), any_rank=True
    ),
    "laplace_log_prior": row(
        (LOGITS,), (HUGE,), (ZEROS,), call=partial(objectives.laplace_log_prior, scale=0.1), any_rank=True
    ),
    "normal_mixture_log_prior": row(
        (LOGITS,),
        (HUGE,),
        call=lambda theta: objectives.normal_mixture_log_prior(
            theta, logits=jnp.array([1e4, -1e4]), means=jnp.zeros(2), log_stds=jnp.array([-5.0, 1.0])
        ),
        any_rank=True,
    ),
    # divergence
    "entropy": row((LOGITS,), (HUGE,), (REVERSED,)),
    "cross_entropy": row((LOGITS, ZEROS), (HUGE, REVERSED), (REVERSED, HUGE)),
    "conditional_entropy": row((TABLE,), (SPARSE_TABLE,)),
    "mutual_information": row((TABLE,), (SPARSE_TABLE,)),
    "kl_categorical": row((LOGITS, ZEROS), (HUGE, REVERSED), (REVERSED, HUGE)),
    "kl_bernoulli": row((LOGITS, ZEROS), (HUGE, REVERSED), (REVERSED, HUGE), any_rank=True),
    "kl_normal": row((LOGITS, ZEROS, LOGITS, ONES), (HUGE, [-20.0] * 4, REVERSED, [9.0] * 4), any_rank=True),
    "kl_standard_normal": row((LOGITS, ZEROS), (HUGE, [-1e4, 9.0, 0.0, -9.0]), any_rank=True),
    "js_divergence": row((LOGITS, ZEROS), (HUGE, REVERSED), (REVERSED, HUGE)),
    "f_divergence": row(
        (PROBS, [0.25] * 4),
        (SPARSE, PROBS),
        (SPARSE, SPARSE),
        call=partial(objectives.f_divergence, generator=objectives.kl_generator),
    ),
    "kl_generator": row((PROBS,), ([0.0, 1e4, 1.0, 0.0],), any_rank=True),
    "reverse_kl_generator": row((PROBS,), ([1e-30, 1e4, 1.0, 1e30],), any_rank=True),
    "squared_hellinger_generator": row((PROBS,), ([0.0, 1e4, 1.0, 0.0],), any_rank=True),
    "squared_hellinger_affinity_generator": row((PROBS,), ([0.0, 1e4, 1.0, 0.0],), any_rank=True),
    "total_variation_generator": row((PROBS,), ([0.0, 1e4, 1.0, 0.0],), any_rank=True),
    "wasserstein1_1d": row((LOGITS, V), (HUGE, [1e4, -1e4]), (ZEROS, [0.0, 0.0])),
    "mmd": row(
        (TABLE, TABLE),
        ([[1e4, 0.0], [1e4, 0.0]], TABLE),
        call=partial(objectives.mmd, kernel=objectives.gaussian_kernel),
    ),
    "gaussian_kernel": row((LOGITS, PROBS), (HUGE, REVERSED), (ZEROS, ZEROS)),
    # supervised
    "softmax_cross_entropy": row((LOGITS, 1), (HUGE, 1), (REVERSED, 0)),
    "sigmoid_cross_entropy": row((LOGITS, BITS), (HUGE, BITS), (REVERSED, BITS), any_rank=True),
    "squared_loss": row((LOGITS, ZEROS), (HUGE, REVERSED), any_rank=True),
    "absolute_loss": row((LOGITS, ZEROS), (HUGE, REVERSED), (ZEROS, ZEROS), any_rank=True),
    "huber_loss": row((LOGITS, ZEROS), (HUGE, REVERSED), (ZEROS, ZEROS), any_rank=True),
    "hinge_loss": row((0.5, 1.0), (1e4, -1.0), (1e4, 1.0)),
    "multiclass_hinge_loss": row((LOGITS, 1), (HUGE, 1), (REVERSED, 1)),
    "focal_loss": row(
        (LOGITS, BITS),
        (HUGE, BITS),
        (REVERSED, BITS),
        call=partial(objectives.focal_loss, gamma=0.5),
        any_rank=True,
    ),
    "smooth_labels": row((PROBS,), (SPARSE,)),
    "distillation_loss": row((LOGITS, ZEROS), (HUGE, REVERSED), (REVERSED, HUGE)),
    "dice_loss": row((LOGITS, BITS), (HUGE, BITS), ([-1e4] * 4, ZEROS), any_rank=True),
    "jaccard_loss": row((LOGITS, BITS), (HUGE, BITS), ([-1e4] * 4, ZEROS), any_rank=True),
    "iou_loss": row(*BOXES),
    "giou_loss": row(*BOXES),
    "ctc_loss": row(
        ([[*LOGITS], [*LOGITS], [*LOGITS]], [1, 3], [True, True, True], [True, False]),
        ([HUGE, REVERSED, HUGE], [1, 1], [True, True, True], [True, True]),
        ([HUGE, REVERSED, HUGE], [2, 1], [False, False, False], [False, False]),
    ),
    "skip_gram_negative_sampling_loss": row(
        (V, V, TABLE), ([100.0, -100.0], [100.0, -100.0], [[1e2, 1e2], [-1e2, 1e2]])
    ),
    "chunked_cross_entropy": row(
        (TABLE, SPARSE_TABLE, [1, 0]),
        (HUGE_TABLE, TABLE, [0, 1]),
        (TABLE, HUGE_TABLE, [1, 1]),
        call=partial(objectives.chunked_cross_entropy, chunk=1),
    ),
    "cbow_loss": row(
        (TABLE, P[0], 1, [1.0, 1.0]),
        ([[1e2, -1e2], V], [[1e2, -1e2], V], 1, [1.0, 0.0]),
        (TABLE, P[0], 0, [0.0, 0.0]),
    ),
    # regularization
    "l1_penalty": row((LOGITS,), (HUGE,), (ZEROS,), any_rank=True),
    "l2_penalty": row((LOGITS,), (HUGE,), any_rank=True),
    "contractive_penalty": row(
        (LOGITS,), (HUGE,), call=partial(objectives.contractive_penalty, jax.nn.sigmoid), any_rank=True
    ),
    "sparsity_kl_penalty": row((PROBS,), (BITS,), call=partial(objectives.sparsity_kl_penalty, rho=0.05)),
    # elbo
    "reparameterize": row(
        (LOGITS, ZEROS),
        (HUGE, [-1e4, 9.0, 0.0, -9.0]),
        call=partial(objectives.reparameterize, KEY),
        any_rank=True,
    ),
    "elbo": row((-3.0, 1.0), (-1e4, 1e4)),
    "iwae_bound": row((LOGITS,), (HUGE,), (REVERSED,)),
    "m2_labelled_bound": row((-3.0, 1, LOGITS), (-1e4, 1, HUGE)),
    "m2_unlabelled_bound": row((LOGITS, LOGITS, ZEROS), (HUGE, REVERSED, HUGE), (REVERSED, REVERSED, HUGE)),
    "gaussian_mixture_elbo": row(
        ([V, V, V], [LOGITS, LOGITS, LOGITS], [V, V, V, V], [V, V, V, V]),
        ([[1e4, 0.0], V, V], [HUGE, REVERSED, HUGE], [[1e4, 0.0], V, V, V], [[-9.0, 9.0], V, V, V]),
        call=partial(objectives.gaussian_mixture_elbo, prior_std=2.0),
    ),
    # flow
    "change_of_variables_log_prob": row((-3.0, 1.0), (-1e4, 1e4)),
    "dequantize": row(
        (GRID,),
        (ONES,),
        call=lambda x: objectives.dequantize(KEY, x, bins=5),
        any_rank=True,
    ),
    "logit_transform": row(
        (PROBS,), (BITS,), call=partial(objectives.logit_transform, alpha=1e-6), any_rank=True
    ),
    "inverse_logit_transform": row(
        (LOGITS,), (HUGE,), call=partial(objectives.inverse_logit_transform, alpha=1e-6), any_rank=True
    ),
    # adversarial
    **{
        f"{kind}_discriminator_loss": logits_row
        for kind in ("minimax", "non_saturating", "wasserstein", "hinge", "least_squares")
    },
    **{
        f"{kind}_generator_loss": logit_row
        for kind in ("minimax", "non_saturating", "wasserstein", "hinge", "least_squares")
    },
    "gradient_penalty": row(
        (LOGITS, PROBS),
        (ZEROS, ZEROS),
        (HUGE, REVERSED),
        call=lambda real, fake: objectives.gradient_penalty(lambda x: (x**2).sum(-1), real, fake, KEY),
    ),
    "r1_penalty": row(
        (LOGITS,), (ZEROS,), (HUGE,), call=partial(objectives.r1_penalty, lambda x: (x**2).sum(-1))
    ),
    "mutual_information_bound": row((-2.0, 1.0), (-1e4, 0.0)),
    "semi_supervised_discriminator_loss": row(
        (LOGITS, 1, ZEROS, PROBS), (HUGE, 1, REVERSED, HUGE), (REVERSED, 0, [-1e4] * 4, [-1e4] * 4)
    ),
    "auxiliary_classifier_discriminator_loss": row(
        (0.5, -0.2, LOGITS, ZEROS, 1, 2), (1e4, 1e4, HUGE, REVERSED, 1, 0), (-1e4, -1e4, HUGE, REVERSED, 1, 0)
    ),
    "auxiliary_classifier_generator_loss": row((0.5, LOGITS, 1), (1e4, HUGE, 1), (-1e4, REVERSED, 0)),
    "cycle_consistency_loss": row((LOGITS, ZEROS), (HUGE, REVERSED), (ZEROS, ZEROS), any_rank=True),
    "optimal_discriminator": row((PROBS, SPARSE), (ZEROS, ZEROS), (SPARSE, ZEROS), any_rank=True),
    # energy
    "contrastive_divergence_loss": row((2.0, 1.0), (1e4, -1e4)),
    "nce_loss": row((0.5, LOGITS), (1e4, HUGE), (-1e4, REVERSED)),
    "denoising_score_matching_loss": row(
        (LOGITS,),
        (HUGE,),
        call=lambda x: objectives.denoising_score_matching_loss(score, x, KEY, std=0.1),
    ),
    "sliced_score_matching_loss": row(
        (LOGITS,),
        (HUGE,),
        call=lambda x: objectives.sliced_score_matching_loss(score, x, KEY),
    ),
    "ddpm_loss": row(
        (LOGITS, 1, PROBS),
        (HUGE, 3, [1.0, 0.9, 0.5, 1e-4]),
        call=lambda x, t, alpha_bar: objectives.ddpm_loss(lambda x_t, t: score(x_t), x, t, alpha_bar, KEY),
    ),
    # td
    "discounted_returns": row((LOGITS, ONES, 0.5), (HUGE, BITS, 1e4)),
    "n_step_returns": row(
        (LOGITS, ONES, PROBS), (HUGE, BITS, REVERSED), call=partial(objectives.n_step_returns, n=2)
    ),
    "lambda_returns": row(
        (LOGITS, ONES, PROBS, 0.9), (HUGE, BITS, REVERSED, 1.0), (HUGE, ONES, REVERSED, 0.0)
    ),
    "gae": row((LOGITS, ONES, PROBS, ZEROS, 0.9, ZEROS), (HUGE, BITS, REVERSED, HUGE, 1.0, BITS)),
    "td_error": row((0.5, 1.0, 0.9, 0.2), (1e4, -1e4, 1.0, 1e4)),
    "sarsa_error": error_row(2),
    "expected_sarsa_error": error_row(SPARSE),
    "q_learning_error": error_row(),
    "double_q_learning_error": error_row(HUGE),
    "categorical_q_learning_loss": row(
        (ATOMS, TABLE, 1, 0.1, 0.9, ATOMS, TABLE),
        (ATOMS, HUGE_TABLE, 0, 1e4, 1.0, ATOMS, HUGE_TABLE[::-1]),
        (ATOMS, HUGE_TABLE, 0, -1e4, 0.0, ATOMS, HUGE_TABLE[::-1]),
    ),
    "action_values": row((P, R, 0.9, V), (P, R, 1.0, [1e4, -1e4])),
    "bellman_backup": row((P, R, 0.9, V, TABLE), (P, R, 1.0, [1e4, -1e4], [[0.0, 1.0], [1.0, 0.0]])),
    "bellman_optimality_backup": row((P, R, 0.9, V), (P, R, 1.0, [1e4, -1e4])),
    # policy_gradient
    "policy_gradient_loss": row((LOGITS, 1, 0.5), (HUGE, 1, -1e4), (REVERSED, 0, 1e4)),
    "gaussian_policy_gradient_loss": row((LOGITS, ZEROS, PROBS, 0.5), (HUGE, LOG_STDS, REVERSED, 1e4)),
    "ppo_clip_loss": row((0.1, 0.5), (1e4, 1.0), (1e4, -1.0), (-1e4, 1.0), (1e4, 0.0)),
    "entropy_bonus": row((LOGITS,), (HUGE,), (REVERSED,)),
    "gaussian_entropy_bonus": row((LOGITS,), (HUGE,)),
    "deterministic_policy_gradient_loss": row((LOGITS, PROBS), (HUGE, ZEROS), (ZEROS, REVERSED)),
    "sac_actor_loss": row((-1.0, V, 0.2), (1e4, [1e4, -1e4], 0.0), (-1e4, [0.0, 0.0], 1e2)),
    "sac_target": row((1.0, 0.9, V, -1.0, 0.2), (1e4, 1.0, [1e4, -1e4], -1e4, 1e2)),
    "sac_temperature_loss": row((0.2, -1.0, -2.0), (1e2, 1e4, -2.0), (0.0, -1e4, -2.0)),
    # geometry
    "eikonal_loss": row(([0.0, 0.6, 0.9],), ([0.0, 0.0, 0.0],), ([1e4, -1e4, 0.0],)),
    "photometric_loss": row(([0.2, 0.6, 0.9], [0.5, 0.5, 0.5]), ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])),
    "occupancy_loss": row((0.5, 1.0), (1e4, 0.0), (-1e4, 1.0)),
    "chamfer_distance": row(
        (TABLE, [V, V, V]), (SPARSE_TABLE, [[0.0, 0.5], V, V]), ([[1e4, 0.0], V], [V, V, V])
    ),
    "reprojection_loss": row(
        ([[1.0, 2.0, 5.0], [0.0, 1.0, 4.0]], TABLE, [1.0, 0.5], [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
        (
            [[1.0, 2.0, 0.0], [0.0, 0.0, -1.0]],
            TABLE,
            [0.0, 0.0],
            [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        ),
    ),
}
# Samplers take a key, and their distribution is tested beside their density.
EXEMPT = {
    "sample_bernoulli",
    "sample_categorical",
    "sample_discretized_logistic",
    "sample_discretized_logistic_mixture",
    "sample_gumbel_softmax",
    "sample_laplace",
    "sample_logistic",
    "sample_multivariate_normal",
    "sample_normal",
    "sample_normal_mixture",
    "sample_standard_normal",
}
MODULES = [
    importlib.import_module(f"jaxdl.objectives.{name}")
    for _, name, _ in pkgutil.iter_modules(objectives.__path__)
    if not name.startswith("_")
]
PUBLIC = {
    name: f
    for module in MODULES
    for name, f in inspect.getmembers(module, inspect.isfunction)
    if f.__module__ == module.__name__ and not name.startswith("_")
}


def objective(name):
    return ROWS[name].call or getattr(objectives, name)


def value_and_grads(f):
    """Return a function that gives f and the slopes of its sum in every argument that has slopes."""

    def both(*args):
        real = [i for i, arg in enumerate(args) if jnp.issubdtype(arg.dtype, jnp.floating)]

        def total(*args):
            value = f(*args)
            return sum(leaf.sum() for leaf in jax.tree.leaves(value)), value

        grads, value = jax.grad(total, argnums=real, has_aux=True)(*args)
        return value, grads

    return both


@pytest.mark.parametrize("name", ROWS)
def test_finite_and_the_same_when_compiled_and_mapped(name):
    f, cases = objective(name), ROWS[name].cases
    values, grads = jax.jit(jax.vmap(value_and_grads(f)))(*(np.stack(xs) for xs in zip(*cases, strict=True)))
    for leaf in jax.tree.leaves((values, grads)):
        assert np.isfinite(leaf).all(), leaf
    for i, case in enumerate(cases):
        mapped = jax.tree.map(lambda leaf, i=i: leaf[i], values)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), mapped, f(*case))


@pytest.mark.parametrize(
    "name", sorted(ROWS.keys() - {"ctc_loss"})
)  # optax makes a new closure to scan over each time
def test_second_call_compiles_nothing(name, caplog):
    # A compiled caller never retraces for equal shapes; here the plain call must not compile again either.
    f, (first, second, *_) = objective(name), ROWS[name].cases
    with jax.log_compiles():
        f(*first)
        jax.jit(lambda: 0)()
        assert caplog.records, "compilation is not logged"
        caplog.clear()
        f(*second)
        assert not caplog.records


@pytest.mark.parametrize("name", ROWS)
def test_a_batch_is_rejected(name):
    f, (args, *_), any_rank = objective(name), ROWS[name].cases, ROWS[name].any_rank
    for batched_args in itertools.product((False, True), repeat=len(args)):
        if any(batched_args) and not (any_rank and all(batched_args)):
            mixed = [
                jnp.stack([x, x]) if batched else x for x, batched in zip(args, batched_args, strict=True)
            ]
            with pytest.raises(AssertionError, match="vmap"):
                f(*mixed)


@pytest.mark.parametrize("name", ROWS)
def test_a_number_stands_for_a_scalar(name):
    args, any_rank = ROWS[name].cases[0], ROWS[name].any_rank
    if any_rank and len({x.shape for x in args}) == 1:  # any shape, so a scalar too
        args = tuple(x.ravel()[0] for x in args)
    numbers = (x.item() if x.ndim == 0 else x for x in args)
    close = partial(np.testing.assert_allclose, rtol=1e-6)  # numbers are added as float64
    jax.tree.map(close, objective(name)(*numbers), objective(name)(*args))


def test_every_public_function_has_a_row():
    assert ROWS.keys() | EXEMPT == PUBLIC.keys()
    assert not ROWS.keys() & EXEMPT


def test_every_public_function_is_exported():
    assert set(objectives.__all__) == PUBLIC.keys()
    assert all(getattr(objectives, name) is f for name, f in PUBLIC.items())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_is_documented(name):
    doc = inspect.getdoc(PUBLIC[name]) or ""
    assert doc.partition("\n\n")[0].endswith("."), "the first paragraph is a sentence"
    if "Args:" not in doc:
        assert re.search(r"[=\[(]|See ", doc), "a short docstring gives a formula, the shapes or the paper"
        return
    assert "Returns:" in doc
    for argument in inspect.signature(PUBLIC[name]).parameters:
        assert re.search(rf"^ +{argument}: ", doc, re.MULTILINE), argument


def test_importing_objectives_costs_no_heavy_import():
    heavy = {"flax", "orbax", "grain", "tensorflow_datasets", "tensorflow", "matplotlib"}
    code = f"import sys, jaxdl.objectives; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
