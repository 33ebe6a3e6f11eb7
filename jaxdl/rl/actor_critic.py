"""Actor-critic: a policy moved along the advantages that a learned value gives its actions.

λ = 0 is the actor-critic with the temporal-difference error as its advantage; λ = 1 with several environments
at once is A2C, the synchronous form of A3C.

See Konda & Tsitsiklis (2000); Mnih et al. (2016), arXiv:1602.01783.
"""

from functools import partial
from typing import Any

import jax
import optax
from flax import linen as nn

from jaxdl.rl.advantage import advantages, flatten
from jaxdl.rl.agent import AgentState, GradientStep, agent
from jaxdl.rl.envs import Environment
from jaxdl.rl.policy import head, init_policy_and_value, likeliest, sampled
from jaxdl.rl.rollout import rollout
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def actor_critic(
    environment: Environment,
    policy: nn.Module,
    value: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    num_envs: int = 8,
    num_steps: int = 8,
    discount: float = 0.99,
    lambda_: float = 1.0,
    value_weight: float = 0.5,
    entropy_weight: float = 0.0,
    options: Options = Options(),
) -> Learner:
    """Take one gradient step on each batch of experience, and throw it away.

    minimise E[−log π(a∣s)·A + c₁·½(V(s) − G)² − c₂ H(π(·∣s))],  G = A + V(s) held constant

    Args:
        environment: to act in.
        policy: observations [B, ...] -> what the head of the environment's actions takes.
        value: observations [B, ...] -> [B].
        optimizer: of both.
        num_envs: N, environments acted in at once.
        num_steps: T, steps in each of them for one gradient step.
        discount: γ.
        lambda_: λ of the advantages: 0 for r + γV(s′) − V(s), 1 for all rewards up to the T-th.
        value_weight: c₁.
        entropy_weight: c₂.
        options: of the shared gradient step.

    Returns:
        A Learner without batches; one step takes N·T environment steps and one gradient step.
    """
    distribution = head(environment.actions)
    pi: Any = policy.apply
    V: Any = value.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        return {"agent": init_policy_and_value(policy, value, key, observation)}, {}

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        params = params["agent"]
        output = pi(params["policy"], batch["observation"])
        v = V(params["value"], batch["observation"])
        likelihood = jax.vmap(distribution.policy_gradient_loss)(output, batch["action"], batch["advantage"])
        regression = 0.5 * (v - batch["target"]) ** 2
        entropy = jax.vmap(distribution.entropy)(output)
        total = likelihood + value_weight * regression - entropy_weight * entropy
        metrics = {
            "policy_loss": likelihood.mean(),
            "value_loss": regression.mean(),
            "entropy": entropy.mean(),
        }
        return total.mean(), (model_state, metrics)

    def learn(step: GradientStep, state: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        params = state.params["agent"]
        act = partial(sampled, policy, distribution, params["policy"])
        worlds, path, episode_return = rollout(
            environment, act, state.worlds, key, num_steps, distribution.noise
        )
        advantage, v = advantages(partial(V, params["value"]), path, discount, lambda_)
        flat = flatten(path)
        batch = {
            "observation": flat.observation,
            "action": flat.action,
            "advantage": advantage.ravel(),
            "target": (advantage + v).ravel(),
        }
        state, metrics = step(state.replace(worlds=worlds), batch)
        return state, metrics | {"episode_return": episode_return}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return likeliest(policy, distribution, params["agent"]["policy"], observation, key)

    players = {"agent": Player(loss, optimizer)}
    return agent(environment, init, players, learn, greedy, num_envs=num_envs, options=options)
