"""Learning curves over seeds: many runs in one compiled call, and the band that their mean lies in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl.types import Array, Key, Learner


class Curves(NamedTuple):
    """What seeds reached on their way.

    Attributes:
        steps: [P], steps of the learner at which it was evaluated.
        values: [P, S], the mean of each seed's evaluation.
    """

    steps: np.ndarray
    values: np.ndarray


def learning_curves(
    learner: Learner, key: Key, num_seeds: int, steps: int, every: int, metric: str = "return"
) -> Curves:
    """Train seeds at once by `jax.vmap`, and evaluate them now and then.

    Args:
        learner: one that draws its own experience.
        key: whose `num_seeds` parts the runs start from.
        num_seeds: S.
        steps: of each run.
        every: steps from one evaluation to the next.
        metric: what is kept of an evaluation.

    Returns:
        The curves, P = steps // every points.
    """
    key_runs, key_evaluate = jax.random.split(key)

    def train(state: Any) -> Any:
        return jax.lax.scan(lambda state, _: (learner.step(state, None)[0], None), state, None, every)[0]

    def evaluate(state: Any, key: Key) -> Array:
        return learner.evaluate(state, None, key)[metric].mean()

    run = jax.jit(jax.vmap(train), donate_argnums=0)
    measure = jax.jit(jax.vmap(evaluate, (0, None)))
    state = jax.jit(jax.vmap(lambda key: learner.init(key, None)))(jax.random.split(key_runs, num_seeds))
    points, values = np.arange(every, steps + 1, every), []
    for _ in points:
        state = run(state)
        values.append(np.asarray(measure(state, key_evaluate)))
    return Curves(points, np.asarray(values))


def confidence_band(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over seeds, and the interval that holds the true mean at this level of confidence.

    x̄ ± t·s/√S, t the quantile ½(1 + level) of Student's distribution with S − 1 degrees of freedom

    Args:
        values: [P, S], S ≥ 2.
        level: between 0 and 1.

    Returns:
        mean, low, high, [P] each.

    Raises:
        ValueError: for a single seed, which says nothing of others.
    """
    num_seeds = values.shape[1]
    if num_seeds < 2:
        raise ValueError(f"a band over {num_seeds} seed cannot be drawn; train 2 or more")
    from scipy import stats  # type: ignore[import-untyped]

    mean = values.mean(axis=1)
    half = stats.t.ppf((1 + level) / 2, num_seeds - 1) * values.std(axis=1, ddof=1) / np.sqrt(num_seeds)
    return mean, mean - half, mean + half


def save_learning_curves(path: Path, curves: Mapping[str, Curves]) -> None:
    """Draw the means of runs over environment steps, with their bands, as PNG.

    Args:
        path: of the PNG.
        curves: {label: curves}, their steps those of the environments.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for label, (steps, values) in curves.items():
        mean, low, high = confidence_band(values)
        axis.plot(steps, mean, label=f"{label}, {values.shape[1]} seeds")
        axis.fill_between(steps, low, high, alpha=0.25, linewidth=0)
    axis.set_xlabel("environment steps")
    axis.set_ylabel("return, mean and its 95 % band")
    axis.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
