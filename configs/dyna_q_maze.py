"""Dyna-Q: plan with a learned model after each real step.

Paper: Sutton, Integrated architectures for learning, planning, and reacting, 1990
Data: the maze of Sutton & Barto, example 8.1, built in
Command: jaxdl train configs/dyna_q_maze.py
Time: 7 s on 2 cores, for five seeds at once
Expected: median_length 14, the shortest way, after 2,000 real steps; --planning-steps 0
    has not found it by then
"""

import optax

from jaxdl.rl import over_seeds, tabular
from jaxdl.train import Experiment

TINY = {"steps": 32, "num_seeds": 2, "planning_steps": 5, "num_episodes": 4}


def dyna_q_maze(
    planning_steps: int = 50,
    discount: float = 0.95,
    epsilon: float = 0.1,
    learning_rate: float = 0.1,
    steps: int = 2_000,
    num_seeds: int = 5,
    num_episodes: int = 10,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        planning_steps: modelled transitions to each real one; 0 is Q-learning.
        discount: γ.
        epsilon: ε of the ε-greedy policy.
        learning_rate: α.
        steps: real transitions.
        num_seeds: runs at once.
        num_episodes: that an evaluation follows the greedy policy for, per seed.
        seed: of everything random.
    """
    learner = tabular.dyna_q(
        tabular.maze(),
        tabular.scheduled(tabular.epsilon_greedy, optax.constant_schedule(epsilon)),
        discount=discount,
        learning_rate=optax.constant_schedule(learning_rate),
        planning_steps=planning_steps,
        num_episodes=num_episodes,
    )
    return Experiment(
        over_seeds(learner, num_seeds),
        steps,
        monitor="median_length",
        steps_per_call=100,
        seed=seed,
    )
