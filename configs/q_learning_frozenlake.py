"""Temporal-difference control: Q-learning, double Q-learning, SARSA, expected SARSA.

Paper: Watkins & Dayan, Q-learning, 1992; van Hasselt, Double Q-learning, 2010; Rummery & Niranjan, 1994
Data: gymnasium's FrozenLake 4x4, 8x8 or Taxi (pip install "jaxdl[rl]")
Command: jaxdl train configs/q_learning_frozenlake.py
Time: 10 s on 2 cores, for five seeds at once
Expected: median_return >= 0.73 (0.7385 reached, the best is 0.7442); with --environment taxi --decay 0
    it is >= 7.8 (7.946 reached, the best is 7.93 on average), in 80 s
"""

from functools import partial
from typing import Literal

import optax

from jaxdl.rl import over_seeds, tabular
from jaxdl.train import Experiment

TINY = {"steps": 64, "num_seeds": 2, "num_episodes": 10}

ENVIRONMENTS = {
    "frozenlake": tabular.frozen_lake,
    "frozenlake_8x8": partial(tabular.frozen_lake, "8x8"),
    "taxi": tabular.taxi,
}
METHODS = {
    "q_learning": tabular.q_learning,
    "double_q_learning": tabular.double_q_learning,
    "sarsa": tabular.sarsa,
    "expected_sarsa": tabular.expected_sarsa,
}
RULES = {"epsilon_greedy": tabular.epsilon_greedy, "softmax": tabular.softmax}


def q_learning_frozenlake(
    method: Literal["q_learning", "double_q_learning", "sarsa", "expected_sarsa"] = "q_learning",
    environment: Literal["frozenlake", "frozenlake_8x8", "taxi"] = "frozenlake",
    discount: float = 0.99,
    exploration: Literal["epsilon_greedy", "softmax"] = "epsilon_greedy",
    explore_first: float = 1.0,
    explore_last: float = 0.05,
    decay: float = 0.6,
    steps: int = 200_000,
    num_seeds: int = 5,
    num_episodes: int = 2_000,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        method: what is learned from a transition.
        environment: the process.
        discount: γ.
        exploration: how actions are drawn from action values.
        explore_first: ε, or the temperature of softmax, at the first step.
        explore_last: the same at the last step; in between it falls linearly.
        decay: ω, the n-th visit of a state and action has the learning rate n^-ω.
        steps: transitions.
        num_seeds: runs at once.
        num_episodes: that an evaluation follows the greedy policy for, per seed.
        seed: of everything random.
    """
    policy = tabular.scheduled(RULES[exploration], optax.linear_schedule(explore_first, explore_last, steps))
    learner = METHODS[method](
        ENVIRONMENTS[environment](),
        policy,
        discount=discount,
        learning_rate=tabular.power_decay(decay),
        num_episodes=num_episodes,
    )
    return Experiment(
        over_seeds(learner, num_seeds),
        steps,
        monitor="median_return",
        maximize=True,
        steps_per_call=1_000,
        seed=seed,
    )
