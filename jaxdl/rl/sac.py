"""Soft actor-critic: as much return as can be had at random.

See Haarnoja et al. (2018), arXiv:1812.05905.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import normal_log_prob, sac_actor_loss, sac_target, sac_temperature_loss, sample_normal
from jaxdl.rl.agent import AgentState, agent
from jaxdl.rl.envs import Environment, num_dims, unit_actions
from jaxdl.rl.off_policy import Schedule, act_and_learn, warm_up
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def squashed(key: Key, mean: Array, log_std: Array) -> tuple[Array, Array]:
    """Draw one action a = tanh u, u ~ N(μ, σ²), and its log-density.

    log π(a∣s) = log N(u; μ, σ²) − Σᵢ log(1 − tanh² uᵢ),  log(1 − tanh² u) = 2(log 2 − u − softplus(−2u))
    """
    u = sample_normal(key, mean, log_std)
    log_det = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
    return jnp.tanh(u), normal_log_prob(u, mean, log_std) - log_det.sum()


def sac(
    environment: Environment,
    policy: nn.Module,
    critics: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    target_rate: float = 0.005,
    target_entropy: float | None = None,
    schedule: Schedule = Schedule(),
    options: Options = Options(),
) -> Learner:
    """Learn a random policy, the values of its actions, and how random it is to be.

    critics      minimise ½(Qₖ(s, a) − y)²,  y = r + γ(minₖ Q⁻ₖ(s′, a′) − α log π(a′∣s′))
    policy       minimise α log π(a∣s) − minₖ Qₖ(s, a),  a = tanh(μ(s) + σ(s)ε)
    temperature  minimise −α(log π(a∣s) + H̄)

    Args:
        environment: to act in, with actions in a Box.
        policy: observations [B, ...] -> mean, log_std [B, D].
        critics: (observations [B, ...], actions [B, D]) -> values [B, K].
        optimizer: of each of the three.
        target_rate: τ, the target critics move by τ(Q − Q⁻) after each gradient step.
        target_entropy: H̄, in nats; minus the dimensions of an action by default.
        schedule: how acting and learning take turns.
        options: of the shared gradient step.

    Returns:
        A Learner without batches; it is evaluated by the action tanh μ(s).

    Raises:
        ValueError: if actions are not arrays.
    """
    environment = unit_actions(environment)
    dims = num_dims(environment)
    pi: Any = policy.apply
    Q: Any = critics.apply
    entropy = -float(dims) if target_entropy is None else target_entropy

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        key_policy, key_critics = jax.random.split(key)
        action = jnp.zeros((len(observation), dims))
        params = {
            "critics": critics.init(key_critics, observation, action),
            "policy": policy.init(key_policy, observation),
            "temperature": jnp.zeros(()),  # log α
        }
        return params, {"target": jax.tree.map(jnp.copy, params["critics"])}

    def drawn(params: Any, observation: Array, key: Key) -> tuple[Array, Array]:
        keys = jax.random.split(key, len(observation))
        return jax.vmap(squashed)(keys, *pi(params["policy"], observation))

    def critics_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        action_t, log_prob_t = drawn(params, batch["next_observation"], key)
        q_t = Q(model_state["target"], batch["next_observation"], action_t)
        target = jax.vmap(partial(sac_target, temperature=jnp.exp(params["temperature"])))(
            batch["reward"], batch["discount"], q_t, log_prob_t
        )
        q = Q(params["critics"], batch["observation"], batch["action"])
        loss = 0.5 * ((q - target[:, None]) ** 2).sum(axis=-1).mean()
        return loss, (model_state, {"q": q.mean()})

    def policy_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        action, log_prob = drawn(params, batch["observation"], key)
        q = Q(params["critics"], batch["observation"], action)
        loss = jax.vmap(partial(sac_actor_loss, temperature=jnp.exp(params["temperature"])))(log_prob, q)
        return loss.mean(), (model_state, {"entropy": -log_prob.mean()})

    def temperature_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        alpha = jnp.exp(params["temperature"])
        _, log_prob = drawn(params, batch["observation"], key)
        loss = jax.vmap(partial(sac_temperature_loss, alpha, target_entropy=entropy))(log_prob)
        return loss.mean(), (model_state, {"temperature": alpha})

    def explore(state: AgentState, observation: Array, key: Key) -> Array:
        return drawn(state.params, observation, key)[0]

    def follow(state: AgentState) -> Any:
        target = state.model_state["target"]
        return {"target": optax.incremental_update(state.params["critics"], target, target_rate)}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        mean, _ = pi(params["policy"], observation)
        return jnp.tanh(mean)

    losses = {"critics": critics_loss, "policy": policy_loss, "temperature": temperature_loss}
    return agent(
        environment,
        init,
        {name: Player(loss, optimizer) for name, loss in losses.items()},
        partial(act_and_learn, environment, schedule, explore, follow, None),
        greedy,
        num_envs=schedule.num_envs,
        prepare=partial(warm_up, environment, schedule),
        options=options,
    )
