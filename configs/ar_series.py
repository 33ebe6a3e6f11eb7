"""Linear autoregression of a time series, AR(p).

Paper: Yule, On a Method of Investigating Periodicities in Disturbed Series, 1927
Data: a generated series that swings with a period of about eleven steps
Command: jaxdl train configs/ar_series.py
Time: 10 s on 2 cores
Expected: nll of 64 steps <= 91.3 nats on the test series, whose own law gives 91.25
"""

from functools import partial

import numpy as np

from jaxdl import optim
from jaxdl.data import Batches
from jaxdl.learners.autoregressive import NORMAL, autoregressive, sample
from jaxdl.learners.wavenet import draw_waves
from jaxdl.nets.ar import AR
from jaxdl.train import Experiment, Options

TINY = {"batch_size": 16, "epochs": 5, "num_steps": 2_000}
B_0, B, STD = 0.5, (1.34, -0.65), 1.0  # b_1 and b_2 are about those of Yule's sunspots
LENGTH = 64


def series(seed: int, num_steps: int) -> np.ndarray:
    """Generate x_t = b_0 + b_1 x_{t−1} + b_2 x_{t−2} + σ ε_t, after it has forgotten where it started."""
    noise = np.random.default_rng(seed).standard_normal(num_steps + 100)
    x = [0.0, 0.0]
    for epsilon in noise:
        x.append(B_0 + B[0] * x[-1] + B[1] * x[-2] + STD * epsilon)
    return np.array(x[-num_steps:], np.float32)


def windows(x: np.ndarray, order: int) -> dict[str, np.ndarray]:
    """Cut a series into windows of LENGTH steps, each with the values before it as context."""
    starts = np.arange(order, len(x) - LENGTH + 1, LENGTH)
    return {
        "x": np.stack([x[s : s + LENGTH] for s in starts]),
        "context": np.stack([x[s - order : s] for s in starts]),
    }


def ar_series(
    order: int = 2,
    num_steps: int = 50_000,
    learning_rate: float = 3e-2,
    batch_size: int = 64,
    epochs: int = 30,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        order: p, values that the next one depends on; the series itself has 2.
        num_steps: length of the series to train on; those of validation and test are a fifth as long.
        learning_rate: of Adam, at its peak; it falls along a cosine.
        batch_size: windows in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    if order < 1:
        raise ValueError(f"order is {order}; give 1 or more")
    if num_steps < 5 * (order + LENGTH):
        raise ValueError(
            f"num_steps is {num_steps}; give {5 * (order + LENGTH)} or more, of which the test has a fifth"
        )
    sources = (windows(series(s, n), order) for s, n in enumerate([num_steps, *[num_steps // 5] * 2]))
    train, validation, test = (Batches(source, batch_size, seed) for source in sources)
    steps = epochs * len(train) // batch_size
    mean = B_0 / (1 - sum(B))
    learner = autoregressive(
        AR(order),
        NORMAL,
        optim.adam(optim.warmup_cosine(learning_rate, steps)),
        draw=draw_waves(partial(sample, NORMAL), lambda x: (x - mean) / 10),
        options=options,
    )
    return Experiment(learner, steps, train, validation, test, monitor="nll", seed=seed)
