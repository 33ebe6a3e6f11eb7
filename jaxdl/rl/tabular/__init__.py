"""Tabular methods: processes of few states, whose values are tables."""

from jaxdl.rl.tabular.dyna import dyna_q
from jaxdl.rl.tabular.dynamic_programming import policy_evaluation, policy_iteration, value_iteration
from jaxdl.rl.tabular.environments import (
    cliff_walking,
    from_table,
    frozen_lake,
    gridworld_4x4,
    gridworld_5x5,
    maze,
    random_walk,
    taxi,
)
from jaxdl.rl.tabular.exploration import Policy, epsilon_greedy, greedy, power_decay, scheduled, softmax
from jaxdl.rl.tabular.mdp import MDP, Position, Transition, first_position, mdp_step, policy_value, restart
from jaxdl.rl.tabular.monte_carlo import monte_carlo_control, monte_carlo_evaluation
from jaxdl.rl.tabular.td_control import double_q_learning, expected_sarsa, q_learning, sarsa
from jaxdl.rl.tabular.td_prediction import td_lambda

__all__ = [
    "MDP",
    "Policy",
    "Position",
    "Transition",
    "cliff_walking",
    "double_q_learning",
    "dyna_q",
    "epsilon_greedy",
    "expected_sarsa",
    "first_position",
    "from_table",
    "frozen_lake",
    "greedy",
    "gridworld_4x4",
    "gridworld_5x5",
    "maze",
    "mdp_step",
    "monte_carlo_control",
    "monte_carlo_evaluation",
    "policy_evaluation",
    "policy_iteration",
    "policy_value",
    "power_decay",
    "q_learning",
    "random_walk",
    "restart",
    "sarsa",
    "scheduled",
    "softmax",
    "taxi",
    "td_lambda",
    "value_iteration",
]
