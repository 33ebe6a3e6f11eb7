"""Proximal policy optimization: many gradient steps on one batch of experience, none of them far.

See Schulman et al. (2017), arXiv:1707.06347.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import ppo_clip_loss
from jaxdl.rl.advantage import advantages, flatten, standardize
from jaxdl.rl.agent import AgentState, GradientStep, agent
from jaxdl.rl.envs import Environment
from jaxdl.rl.policy import head, init_policy_and_value, likeliest, sampled
from jaxdl.rl.rollout import Transition, rollout
from jaxdl.train import Options, Player, mean_over_steps
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def value_loss(v: Array, v_old: Array, target: Array, epsilon: float | None) -> Array:
    """Score the value of one state, ½(v − G)²; with an ε, leave no gain in moving further than ε from v_old.

    max(½(v − G)², ½(v_old + clip(v − v_old, −ε, ε) − G)²)
    """
    loss = 0.5 * (v - target) ** 2
    if epsilon is None:
        return loss
    near = v_old + jnp.clip(v - v_old, -epsilon, epsilon)
    return jnp.maximum(loss, 0.5 * (near - target) ** 2)


def shuffled(key: Key, num: int, size: int) -> Array:
    """Draw `num` orders [num, size] of 0 … size − 1, by sorting random numbers that end in them.

    On CPU that takes a quarter of the time of `jax.random.permutation`, which sorts pairs, or less. Numbers
    that begin alike, one pair in 2³² / size, stay in order.
    """
    last = jnp.uint32(2 ** (size - 1).bit_length() - 1)
    first = jax.random.bits(key, (num, size)) & ~last
    index = jnp.arange(size, dtype=jnp.uint32)[None]
    return (jnp.sort(first | index, stable=False) & last).astype(jnp.int32)


def improve(
    step: GradientStep, state: AgentState, batch: Batch, key: Key, epochs: int, minibatches: int
) -> tuple[AgentState, Metrics]:
    """Take one gradient step on each minibatch, in an order of its own in each epoch."""
    if minibatches == 1:  # of which every order is the same
        state, metrics = jax.lax.scan(lambda state, _: step(state, batch), state, None, epochs)
        return state, mean_over_steps(metrics)
    size = len(batch["advantage"])
    orders = shuffled(key, epochs, size).reshape(epochs * minibatches, size // minibatches)

    def one(state: AgentState, index: Array) -> tuple[AgentState, Metrics]:
        return step(state, jax.tree.map(lambda leaf: leaf[index], batch))

    state, metrics = jax.lax.scan(one, state, orders)
    return state, mean_over_steps(metrics)


def ppo(
    environment: Environment,
    policy: nn.Module,
    value: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    num_envs: int = 8,
    num_steps: int = 128,
    epochs: int = 4,
    minibatches: int = 4,
    discount: float = 0.99,
    lambda_: float = 0.95,
    epsilon: float = 0.2,
    value_epsilon: float | None = None,
    value_weight: float = 0.5,
    entropy_weight: float = 0.0,
    normalize: bool = True,
    options: Options = Options(),
) -> Learner:
    """Improve a policy within a trusted region of probability ratios.

    minimise E[−min(ρA, clip(ρ, 1 − ε, 1 + ε)A) + c₁·½(V(s) − G)² − c₂ H(π(·∣s))],  ρ = π(a∣s)/π_old(a∣s)

    with advantages A by generalized advantage estimation, and G = A + V_old(s).

    Args:
        environment: to act in.
        policy: observations [B, ...] -> what the head of the environment's actions takes.
        value: observations [B, ...] -> [B].
        optimizer: of both.
        num_envs: N, environments acted in at once.
        num_steps: T, steps in each of them for one batch.
        epochs: passes over a batch.
        minibatches: parts of a batch, one gradient step each.
        discount: γ.
        lambda_: λ of the advantages.
        epsilon: ε, how far a ratio may leave 1.
        value_epsilon: how far a value may leave the old one; no bound by default.
        value_weight: c₁.
        entropy_weight: c₂.
        normalize: whether advantages are standardized in each minibatch.
        options: of the shared gradient step.

    Returns:
        A Learner without batches; one step takes N·T environment steps and epochs·minibatches gradient steps.

    Raises:
        ValueError: if the batch does not divide into its minibatches.
    """
    if num_envs * num_steps % minibatches:
        raise ValueError(
            f"{num_envs} environments x {num_steps} steps do not divide into {minibatches} minibatches"
        )
    distribution = head(environment.actions)
    pi: Any = policy.apply
    V: Any = value.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        return {"agent": init_policy_and_value(policy, value, key, observation)}, {}

    def estimate(params: Any, path: Transition) -> Batch:
        """Score each action by the policy that took it; [T, N] becomes [T·N]."""
        advantage, v = advantages(partial(V, params["value"]), path, discount, lambda_)
        path = flatten(path)
        output = pi(params["policy"], path.observation)
        return {
            "observation": path.observation,
            "action": path.action,
            "log_prob": jax.vmap(distribution.log_prob)(path.action, output),
            "value": v.ravel(),
            "advantage": advantage.ravel(),
        }

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        params, advantage = params["agent"], batch["advantage"]
        output = pi(params["policy"], batch["observation"])
        v = V(params["value"], batch["observation"])
        log_ratio = jax.vmap(distribution.log_prob)(batch["action"], output) - batch["log_prob"]
        clipped = jax.vmap(partial(ppo_clip_loss, epsilon=epsilon))(
            log_ratio, standardize(advantage) if normalize else advantage
        )
        regression = value_loss(v, batch["value"], batch["value"] + advantage, value_epsilon)
        entropy = jax.vmap(distribution.entropy)(output)
        metrics = {
            "policy_loss": clipped.mean(),
            "value_loss": regression.mean(),
            "entropy": entropy.mean(),
            "kl": (jnp.expm1(log_ratio) - log_ratio).mean(),  # of the old policy from the new, ≥ 0
            "clipped": (jnp.abs(jnp.expm1(log_ratio)) > epsilon).mean(),
        }
        total = clipped + value_weight * regression
        if entropy_weight:  # 0 times the gradient of the entropy takes as long as the gradient
            total -= entropy_weight * entropy
        return total.mean(), (model_state, metrics)

    def learn(step: GradientStep, state: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        key_act, key_learn = jax.random.split(key)
        params = state.params["agent"]
        act = partial(sampled, policy, distribution, params["policy"])
        worlds, path, episode_return = rollout(
            environment, act, state.worlds, key_act, num_steps, distribution.noise
        )
        batch = estimate(params, path)
        state, metrics = improve(step, state.replace(worlds=worlds), batch, key_learn, epochs, minibatches)
        return state, metrics | {"episode_return": episode_return}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return likeliest(policy, distribution, params["agent"]["policy"], observation, key)

    players = {"agent": Player(loss, optimizer)}
    return agent(environment, init, players, learn, greedy, num_envs=num_envs, options=options)
