"""Temporal-difference prediction: TD(0) and TD(λ).

Paper: Sutton, Learning to predict by the methods of temporal differences, 1988
Data: the random walk over 19 states of Sutton & Barto, example 12.1, built in
Command: jaxdl train configs/td_random_walk.py
Time: 7 s on 2 cores, for ten seeds at once
Expected: value_error <= 0.04 (0.028 reached), the mean distance to the true values 2i/20 - 1
"""

from typing import Literal

from jaxdl.rl import over_seeds, tabular
from jaxdl.train import Experiment

TINY = {"steps": 64, "num_seeds": 2}


def td_random_walk(
    lambda_: float = 0.8,
    traces: Literal["accumulating", "replacing"] = "accumulating",
    discount: float = 1.0,
    decay: float = 0.6,
    num_states: int = 19,
    steps: int = 50_000,
    num_seeds: int = 10,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        lambda_: λ, how fast the traces of earlier states fade; 0 is TD(0).
        traces: whether a visit adds 1 to the trace of its state or sets it to 1.
        discount: γ.
        decay: ω, the n-th visit of a state has the learning rate n^-ω.
        num_states: between the two ends, odd.
        steps: transitions.
        num_seeds: runs at once.
        seed: of everything random.
    """
    mdp = tabular.random_walk(num_states)
    learner = tabular.td_lambda(
        mdp,
        mdp.random_policy,
        discount=discount,
        learning_rate=tabular.power_decay(decay),
        lambda_=lambda_,
        traces=traces,
    )
    return Experiment(
        over_seeds(learner, num_seeds), steps, monitor="value_error", steps_per_call=500, seed=seed
    )
