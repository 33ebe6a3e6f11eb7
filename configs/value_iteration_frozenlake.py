"""Dynamic programming: value iteration, policy iteration, policy evaluation.

Paper: Bellman, Dynamic Programming, 1957; Howard, Dynamic Programming and Markov Processes, 1960
Data: gymnasium's FrozenLake or Taxi (pip install "jaxdl[rl]"), or a grid of Sutton & Barto
Command: jaxdl train configs/value_iteration_frozenlake.py
Time: 8 s on 2 cores
Expected: start_value 0.542026 and return >= 0.73 on FrozenLake 4x4; with --discount 1 start_value 0.823529
"""

from functools import partial
from typing import Literal

from jaxdl.rl import tabular
from jaxdl.train import Experiment

TINY = {"environment": "gridworld_4x4", "steps": 32}

ENVIRONMENTS = {
    "frozenlake": tabular.frozen_lake,
    "frozenlake_8x8": partial(tabular.frozen_lake, "8x8"),
    "frozenlake_dry": partial(tabular.frozen_lake, slippery=False),
    "gridworld_4x4": tabular.gridworld_4x4,
    "gridworld_5x5": tabular.gridworld_5x5,
    "cliff": tabular.cliff_walking,
    "maze": tabular.maze,
    "taxi": tabular.taxi,
}


def value_iteration_frozenlake(
    method: Literal["value_iteration", "policy_iteration", "policy_evaluation"] = "value_iteration",
    environment: Literal[
        "frozenlake",
        "frozenlake_8x8",
        "frozenlake_dry",
        "gridworld_4x4",
        "gridworld_5x5",
        "cliff",
        "maze",
        "taxi",
    ] = "frozenlake",
    discount: float = 0.99,
    steps: int = 1_000,
    num_episodes: int = 10_000,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        method: what a step is: a sweep of value iteration, an iteration of policy iteration, or a sweep that
            evaluates the random policy.
        environment: the process; `frozenlake_dry` does not slip.
        discount: γ.
        steps: of the method; policy iteration needs a dozen.
        num_episodes: that an evaluation follows the policy for.
        seed: of the episodes.
    """
    mdp = ENVIRONMENTS[environment]()
    match method:
        case "value_iteration":
            learner = tabular.value_iteration(mdp, discount=discount, num_episodes=num_episodes)
        case "policy_iteration":
            learner = tabular.policy_iteration(mdp, discount=discount, num_episodes=num_episodes)
        case "policy_evaluation":
            learner = tabular.policy_evaluation(
                mdp, mdp.random_policy, discount=discount, num_episodes=num_episodes
            )
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=100, seed=seed)
