"""REINFORCE: make likely what was followed by a high return.

See Williams (1992); baselines: Greensmith, Bartlett & Baxter (2004).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import discounted_returns
from jaxdl.rl.agent import AgentState, GradientStep, agent
from jaxdl.rl.envs import Environment
from jaxdl.rl.policy import head, likeliest, sampled
from jaxdl.rl.rollout import Transition, episodes
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def returns(path: Transition, mask: Array, discount: float, reward_to_go: bool) -> Array:
    """Sum the discounted rewards of one episode.

    Gₜ = Σₖ₌ₜ γᵏ⁻ᵗ rₖ, or with all rewards Σₖ γᵏ rₖ = G₀ for each step

    Args:
        path: [T].
        mask: [T], 1 up to the end of the episode.
        discount: γ.
        reward_to_go: whether an action is credited with what follows it only.

    Returns:
        [T].
    """
    g = discounted_returns(path.reward * mask, jnp.full_like(mask, discount), jnp.zeros(()))
    return g if reward_to_go else jnp.full_like(g, g[0])


def reinforce(
    environment: Environment,
    policy: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    baseline: nn.Module | None = None,
    baseline_optimizer: optax.GradientTransformation | None = None,
    num_envs: int = 8,
    discount: float = 0.99,
    reward_to_go: bool = True,
    entropy_weight: float = 0.0,
    options: Options = Options(),
) -> Learner:
    """Follow the gradient of the expected return, estimated from whole episodes.

    ∇J ≈ 1/N Σᵢ Σₜ ∇log π(aₜ∣sₜ)·(Gₜ − b(sₜ)),  Gₜ = Σₖ₌ₜ γᵏ⁻ᵗ rₖ

    A baseline b leaves the expectation as it is, since E[∇log π(a∣s)] = 0, and lowers the variance. With
    γ < 1 and rewards to go the factor γᵗ of the exact gradient is left out, as everywhere in practice: late
    actions count as much as early ones. Where all rewards count (`reward_to_go` false) the estimate is exact.
    The time limit is part of the task here: nothing is added for what a truncated episode might have brought.

    Args:
        environment: to act in.
        policy: observations [B, ...] -> what the head of the environment's actions takes.
        optimizer: of the policy.
        baseline: observations [B, ...] -> [B], b, learned by regression on the returns; none by default.
        baseline_optimizer: of the baseline.
        num_envs: N, episodes played for one gradient step.
        discount: γ.
        reward_to_go: whether an action is credited with what follows it only.
        entropy_weight: of the entropy bonus.
        options: of the shared gradient step.

    Returns:
        A Learner without batches; one step plays N episodes and takes one gradient step.
    """
    if (baseline is None) != (baseline_optimizer is None):
        raise ValueError("a baseline and its optimizer go together; give both or neither")
    distribution = head(environment.actions)
    pi: Any = policy.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        key_policy, key_baseline = jax.random.split(key)
        params = {"policy": policy.init(key_policy, observation)}
        if baseline is not None:
            params["baseline"] = baseline.init(key_baseline, observation)
        return params, {}

    def policy_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        b = 0.0 if baseline is None else baseline.apply(params["baseline"], batch["observation"])
        output = pi(params["policy"], batch["observation"])
        loss = jax.vmap(distribution.policy_gradient_loss)(output, batch["action"], batch["return"] - b)
        entropy = jax.vmap(distribution.entropy)(output)
        loss = (batch["mask"] * (loss - entropy_weight * entropy)).sum() / num_envs
        return loss, (model_state, {"entropy": masked_mean(entropy, batch["mask"])})

    def baseline_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        assert baseline is not None
        b = baseline.apply(params["baseline"], batch["observation"])
        return masked_mean(0.5 * (b - batch["return"]) ** 2, batch["mask"]), (model_state, {})

    def learn(step: GradientStep, state: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        act = partial(sampled, policy, distribution, state.params["policy"])
        path, mask = episodes(environment, act, key, num_envs, distribution.noise)
        g = jax.vmap(partial(returns, discount=discount, reward_to_go=reward_to_go), 1, 1)(path, mask)
        batch = {"observation": path.observation, "action": path.action, "return": g, "mask": mask}
        batch = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)
        worlds = state.worlds._replace(time=state.worlds.time + environment.time_limit)
        state, metrics = step(state.replace(worlds=worlds), batch)
        return state, metrics | {"episode_return": (path.reward * mask).sum() / num_envs}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return likeliest(policy, distribution, params["policy"], observation, key)

    players = {"policy": Player(policy_loss, optimizer)}  # before the baseline, which has not seen the batch
    if baseline_optimizer is not None:
        players["baseline"] = Player(baseline_loss, baseline_optimizer)
    return agent(environment, init, players, learn, greedy, num_envs=num_envs, options=options)


def masked_mean(value: Array, mask: Array) -> Array:
    """Average over where the mask is 1."""
    return (value * mask).sum() / mask.sum()
