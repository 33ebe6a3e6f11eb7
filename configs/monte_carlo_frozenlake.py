"""Monte Carlo control and evaluation, first-visit and every-visit.

Paper: Sutton & Barto, Reinforcement Learning, 2018, chapter 5
Data: gymnasium's FrozenLake 4x4 (pip install "jaxdl[rl]"), or the 4x4 grid of Sutton & Barto
Command: jaxdl train configs/monte_carlo_frozenlake.py
Time: 25 s on 2 cores, for five seeds at once
Expected: median_return >= 0.7 (0.73 reached)
"""

from typing import Literal

import optax

from jaxdl.rl import over_seeds, tabular
from jaxdl.train import Experiment

TINY = {"steps": 32, "num_seeds": 2, "num_episodes": 10}

ENVIRONMENTS = {"frozenlake": tabular.frozen_lake, "gridworld_4x4": tabular.gridworld_4x4}


def monte_carlo_frozenlake(
    task: Literal["control", "evaluation"] = "control",
    environment: Literal["frozenlake", "gridworld_4x4"] = "frozenlake",
    first_visit: bool = True,
    discount: float = 1.0,
    epsilon: float = 0.2,
    steps: int = 20_000,
    num_seeds: int = 5,
    num_episodes: int = 2_000,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        task: find a good policy, or the value of the random one.
        environment: the process.
        first_visit: count the first visit in an episode only, instead of every one.
        discount: γ.
        epsilon: ε of the ε-greedy policy that control learns by.
        steps: episodes.
        num_seeds: runs at once.
        num_episodes: that an evaluation follows the greedy policy for, per seed.
        seed: of everything random.
    """
    mdp = ENVIRONMENTS[environment]()
    if task == "control":
        policy = tabular.scheduled(tabular.epsilon_greedy, optax.constant_schedule(epsilon))
        learner = tabular.monte_carlo_control(
            mdp, policy, discount=discount, first_visit=first_visit, num_episodes=num_episodes
        )
    else:
        learner = tabular.monte_carlo_evaluation(
            mdp, mdp.random_policy, discount=discount, first_visit=first_visit
        )
    return Experiment(
        over_seeds(learner, num_seeds),
        steps,
        monitor="median_return" if task == "control" else "value_error",
        maximize=task == "control",
        steps_per_call=100,
        seed=seed,
    )
