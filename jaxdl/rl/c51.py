"""C51: Q-learning of whole distributions of returns.

See Bellemare, Dabney & Munos (2017), arXiv:1707.06887.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.objectives import categorical_q_learning_loss
from jaxdl.rl.agent import AgentState, agent
from jaxdl.rl.envs import Environment, num_actions
from jaxdl.rl.off_policy import Schedule, act_and_learn, explored, followed, warm_up
from jaxdl.train import Options, Player
from jaxdl.types import Array, Batch, Key, Learner, Metrics


def c51(
    environment: Environment,
    net: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    low: float,
    high: float,
    epsilon: optax.Schedule,
    target_rate: float = 1.0,
    target_every: int = 100,
    schedule: Schedule = Schedule(),
    options: Options = Options(),
) -> Learner:
    """Fit the distribution of an action's return to that of the reward and what the best action returns.

    minimise −Σᵢ mᵢ log pᵢ(s, a),  m the projection of r + γz, z ~ p⁻(s′, a*), on the atoms,
    a* = argmaxₐ′ Σⱼ zⱼ p⁻ⱼ(s′, a′)

    Args:
        environment: to act in, with discrete actions.
        net: observations [B, ...] -> logits [B, A, K] of returns on K atoms.
        optimizer: of it.
        low: the smallest atom, in units of the discounted return.
        high: the largest one; the others lie evenly between.
        epsilon: steps taken in each environment -> ε, the probability of a random action.
        target_rate: τ, the target network moves by τ of what it is behind; 1 copies.
        target_every: gradient steps from one such move to the next.
        schedule: how acting and learning take turns.
        options: of the shared gradient step.

    Returns:
        A Learner without batches.

    Raises:
        ValueError: if actions are arrays; on the first call, if there are not two atoms in rising order.
    """
    num_actions(environment)
    logits_of: Any = net.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        params = net.init(key, observation)
        return {"q": params}, {"target": jax.tree.map(jnp.copy, params)}

    def atoms(logits: Array) -> Array:
        if logits.shape[-1] < 2 or not low < high:
            raise ValueError(
                f"{logits.shape[-1]} atoms from {low} to {high} hold no distribution; give 2 or more"
            )
        return jnp.linspace(low, high, logits.shape[-1])

    def values(params: Any, observation: Array) -> Array:
        """Q(s, a) = Σᵢ zᵢ pᵢ(s, a), [B, A]."""
        logits = logits_of(params, observation)
        return jax.nn.softmax(logits) @ atoms(logits)

    def loss(params: Any, model_state: Any, batch: Batch, key: Key) -> tuple[Array, tuple[Any, Metrics]]:
        logits_tm1 = logits_of(params["q"], batch["observation"])
        logits_t = logits_of(model_state["target"], batch["next_observation"])
        z = atoms(logits_t)
        cross_entropy = jax.vmap(categorical_q_learning_loss, (None, 0, 0, 0, 0, None, 0))
        value = cross_entropy(z, logits_tm1, batch["action"], batch["reward"], batch["discount"], z, logits_t)
        return value.mean(), (model_state, {})

    def explore(state: AgentState, observation: Array, key: Key) -> Array:
        return explored(values(state.params["q"], observation), epsilon(state.worlds.time), key)

    def follow(state: AgentState) -> Any:
        return {"target": followed(state, state.params["q"], target_rate, target_every)}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return values(params["q"], observation).argmax(axis=-1)

    return agent(
        environment,
        init,
        {"q": Player(loss, optimizer)},
        partial(act_and_learn, environment, schedule, explore, follow, None),
        greedy,
        num_envs=schedule.num_envs,
        prepare=partial(warm_up, environment, schedule),
        options=options,
    )
