"""Reinforcement learning: environments, rollouts, replay, and agents that are learners."""

from jaxdl.rl import tabular
from jaxdl.rl.actor_critic import actor_critic
from jaxdl.rl.c51 import c51
from jaxdl.rl.curves import confidence_band, learning_curves, save_learning_curves
from jaxdl.rl.dqn import dqn
from jaxdl.rl.envs import (
    Box,
    Discrete,
    Environment,
    TimeStep,
    from_gymnax,
    num_actions,
    num_dims,
    unit_observations,
)
from jaxdl.rl.host import from_gymnasium, make
from jaxdl.rl.off_policy import Priority, Schedule
from jaxdl.rl.policy import policy_net
from jaxdl.rl.ppo import ppo
from jaxdl.rl.reinforce import reinforce
from jaxdl.rl.sac import sac
from jaxdl.rl.td3 import td3
from jaxdl.rl.together import over_seeds, side_by_side
from jaxdl.rl.trpo import trpo

__all__ = [
    "Box",
    "Discrete",
    "Environment",
    "Priority",
    "Schedule",
    "TimeStep",
    "actor_critic",
    "c51",
    "confidence_band",
    "dqn",
    "from_gymnasium",
    "from_gymnax",
    "learning_curves",
    "make",
    "num_actions",
    "num_dims",
    "over_seeds",
    "policy_net",
    "ppo",
    "reinforce",
    "sac",
    "save_learning_curves",
    "side_by_side",
    "tabular",
    "td3",
    "trpo",
    "unit_observations",
]
