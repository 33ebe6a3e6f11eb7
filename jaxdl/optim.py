"""Optimizers that report their learning rate; optax underneath."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.types import PyTree


def with_rate(
    make: Callable[..., optax.GradientTransformation],
) -> Callable[..., optax.GradientTransformation]:
    """Wrap an optax optimizer so that its state holds the learning rate, which the step then reports.

    Args:
        make: (learning_rate, **kwargs) -> GradientTransformation.

    Returns:
        The same function; the learning rate is a number or a schedule, a function of the step.
    """

    def build(learning_rate: optax.ScalarOrSchedule, **kwargs: Any) -> optax.GradientTransformation:
        """Make the optax optimizer of this name; its state holds the learning rate."""
        injected = optax.inject_hyperparams(lambda learning_rate: make(learning_rate, **kwargs))
        return injected(learning_rate=learning_rate)

    return build


sgd = with_rate(optax.sgd)
adam = with_rate(optax.adam)
adamw = with_rate(optax.adamw)
rmsprop = with_rate(optax.rmsprop)


def with_l2(weight_decay: float, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Add λw to the gradient of each matrix before an optimizer sees it: the weight decay of plain SGD."""
    return optax.chain(optax.add_decayed_weights(weight_decay, mask=matrices), optimizer)


def matrices(params: PyTree) -> PyTree:
    """Mark the arrays with two axes or more: a weight-decay mask that leaves out biases and norms."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def warmup_cosine(peak: float, steps: int, warmup: int = 0, end: float = 0.0) -> optax.Schedule:
    """Rise linearly from zero to the peak, then fall to the end along half a cosine.

    η_t = peak·t/w for t < w,  end + ½(peak - end)(1 + cos π(t - w)/(T - w)) for w ≤ t ≤ T,  end beyond

    See Loshchilov & Hutter (2017), arXiv:1608.03983.

    Args:
        peak: learning rate at t = w.
        steps: T, of the whole run.
        warmup: w, steps of the rise; where it is more than half of the run, the half.
        end: learning rate at t = T.

    Returns:
        A schedule, t -> η_t.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; give 1 or more, such as epochs · examples / batch_size")
    return optax.warmup_cosine_decay_schedule(0.0, peak, min(warmup, steps // 2), steps, end)
