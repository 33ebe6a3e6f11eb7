"""Deep Q-network: Q-learning with a replay buffer and a target network.

See Mnih et al. (2015); double: van Hasselt et al. (2016), arXiv:1509.06461; prioritized: Schaul et al.
(2016), arXiv:1511.05952; dueling is the net's own affair.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import double_q_learning_error, huber_loss, q_learning_error
from jaxdl.rl.agent import AgentState, agent
from jaxdl.rl.envs import Environment, num_actions
from jaxdl.rl.off_policy import Priority, Schedule, act_and_learn, explored, followed, warm_up
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def dqn(
    environment: Environment,
    net: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    epsilon: optax.Schedule,
    target_rate: float = 1.0,
    target_every: int = 100,
    double: bool = False,
    priority: Priority | None = None,
    schedule: Schedule = Schedule(),
    options: Options = Options(),
) -> Learner:
    """Regress action values on the reward and the best value that can follow.

    minimise E[w·huber(r + γ maxₐ′ Q⁻(s′, a′) − Q(s, a))],  Q⁻ a copy of Q that lags behind

    Double: Q⁻(s′, argmaxₐ′ Q(s′, a′)) in place of the maximum.

    Args:
        environment: to act in, with discrete actions.
        net: observations [B, ...] -> action values [B, A].
        optimizer: of it.
        epsilon: steps taken in each environment -> ε, the probability of a random action.
        target_rate: τ, the target network moves by τ(Q − Q⁻); 1 copies Q.
        target_every: gradient steps from one such move to the next.
        double: whether the next action is chosen by Q and valued by Q⁻.
        priority: whether and how transitions of large error are drawn more often; with weights w then.
        schedule: how acting and learning take turns.
        options: of the shared gradient step.

    Returns:
        A Learner without batches.

    Raises:
        ValueError: if actions are arrays.
    """
    num_actions(environment)
    Q: Any = net.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        params = net.init(key, observation)
        target = jax.tree.map(jnp.copy, params)
        return {"q": params}, {"target": target, "error": jnp.zeros(schedule.batch_size)}

    def errors(params: Any, target: Any, batch: Batch) -> Array:
        """δ of each transition."""
        q_tm1 = Q(params, batch["observation"])
        q_t = Q(target, batch["next_observation"])
        start = q_tm1, batch["action"], batch["reward"], batch["discount"], q_t
        if double:
            return jax.vmap(double_q_learning_error)(*start, Q(params, batch["next_observation"]))
        return jax.vmap(q_learning_error)(*start)

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        error = errors(params["q"], model_state["target"], batch)
        value = jax.vmap(huber_loss)(error, jnp.zeros_like(error))
        start = batch["index"][:1]  # of a micro-batch in the batch
        return (batch["weight"] * value).mean(), (
            {**model_state, "error": jax.lax.dynamic_update_slice(model_state["error"], error, start)},
            {"td_error": jnp.abs(error).mean()},
        )

    def explore(state: AgentState, observation: Array, key: Key) -> Array:
        return explored(Q(state.params["q"], observation), epsilon(state.worlds.time), key)

    def follow(state: AgentState) -> Any:
        target = followed(state, state.params["q"], target_rate, target_every)
        return {**state.model_state, "target": target}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return Q(params["q"], observation).argmax(axis=-1)

    return agent(
        environment,
        init,
        {"q": Player(loss, optimizer)},
        partial(act_and_learn, environment, schedule, explore, follow, priority),
        greedy,
        num_envs=schedule.num_envs,
        prepare=partial(warm_up, environment, schedule),
        options=options,
    )
