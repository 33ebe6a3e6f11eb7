"""Deterministic policy gradients: DDPG, and TD3, which adds to it what keeps its values from running away.

See Lillicrap et al. (2016), arXiv:1509.02971; Fujimoto et al. (2018), arXiv:1802.09477.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import deterministic_policy_gradient_loss, td_error
from jaxdl.rl.agent import AgentState, agent
from jaxdl.rl.envs import Environment, num_dims, unit_actions
from jaxdl.rl.off_policy import Schedule, act_and_learn, warm_up
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def smoothed(key: Key, action: Array, std: float, bound: float) -> Array:
    """Blur actions a little: clip(a + clip(ε, −c, c), −1, 1), ε ~ N(0, σ²)."""
    noise = jnp.clip(std * jax.random.normal(key, action.shape), -bound, bound)
    return jnp.clip(action + noise, -1, 1)


def td3(
    environment: Environment,
    policy: nn.Module,
    critics: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    exploration_std: float = 0.1,
    smoothing_std: float = 0.2,
    smoothing_bound: float = 0.5,
    policy_every: int = 2,
    target_rate: float = 0.005,
    schedule: Schedule = Schedule(),
    options: Options = Options(),
) -> Learner:
    """Move a deterministic policy along the slope of the values that are learned of its actions.

    critics  minimise ½(Qₖ(s, a) − y)²,  y = r + γ minₖ Q⁻ₖ(s′, ã),  ã = clip(μ⁻(s′) + clip(ε, −c, c), −1, 1)
    policy   along E[∂Q₁(s, a)/∂a · ∂μ(s)/∂θ] at a = μ(s)

    DDPG is what is left with one critic, a `smoothing_std` of 0 and a `policy_every` of 1.

    Args:
        environment: to act in, with actions in a Box.
        policy: observations [B, ...] -> actions [B, D] in [−1, 1].
        critics: (observations [B, ...], actions [B, D]) -> values [B, K].
        optimizer: of both.
        exploration_std: σ of the noise on actions taken, where actions lie in [−1, 1].
        smoothing_std: σ of ε.
        smoothing_bound: c.
        policy_every: gradient steps of the critics to one of the policy and the target networks.
        target_rate: τ, the target networks move by τ of what they are behind.
        schedule: how acting and learning take turns.
        options: of the shared gradient step.

    Returns:
        A Learner without batches; it is evaluated without noise.

    Raises:
        ValueError: if actions are not arrays.
    """
    environment = unit_actions(environment)
    dims = num_dims(environment)
    mu: Any = policy.apply
    Q: Any = critics.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        key_policy, key_critics = jax.random.split(key)
        action = jnp.zeros((len(observation), dims))
        params = {
            "critics": critics.init(key_critics, observation, action),
            "policy": policy.init(key_policy, observation),
        }
        return params, {"target": jax.tree.map(jnp.copy, params)}

    def critics_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        target = model_state["target"]
        action_t = mu(target["policy"], batch["next_observation"])
        action_t = smoothed(key, action_t, smoothing_std, smoothing_bound)
        v_t = Q(target["critics"], batch["next_observation"], action_t).min(axis=-1)
        q = Q(params["critics"], batch["observation"], batch["action"])
        errors = jax.vmap(jax.vmap(td_error, (0, None, None, None)))
        error = errors(q, batch["reward"], batch["discount"], v_t)
        return 0.5 * (error**2).sum(axis=-1).mean(), (model_state, {"q": q.mean()})

    def policy_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        action = mu(params["policy"], batch["observation"])
        values = partial(Q, params["critics"], batch["observation"])
        dqda = jax.grad(lambda action: values(action)[:, 0].sum())(action)
        return jax.vmap(deterministic_policy_gradient_loss)(action, dqda).mean(), (model_state, {})

    def explore(state: AgentState, observation: Array, key: Key) -> Array:
        action = mu(state.params["policy"], observation)
        return smoothed(key, action, exploration_std, jnp.inf)

    def follow(state: AgentState) -> Any:
        target = state.model_state["target"]
        nearer = optax.incremental_update(dict(state.params), target, target_rate)
        return {"target": optax.periodic_update(nearer, target, state.step, policy_every)}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return mu(params["policy"], observation)

    players = {
        "critics": Player(critics_loss, optimizer),
        "policy": Player(policy_loss, optimizer, every=policy_every),
    }
    return agent(
        environment,
        init,
        players,
        partial(act_and_learn, environment, schedule, explore, follow, None),
        greedy,
        num_envs=schedule.num_envs,
        prepare=partial(warm_up, environment, schedule),
        options=options,
    )
