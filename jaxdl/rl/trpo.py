"""Trust region policy optimization: the largest step along the natural gradient that keeps a policy near.

See Schulman et al. (2015), arXiv:1502.05477; the natural gradient: Kakade (2001).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl.rl.advantage import advantages, flatten, standardize
from jaxdl.rl.agent import AgentState, GradientStep, agent
from jaxdl.rl.envs import Environment
from jaxdl.rl.policy import head, init_policy_and_value, likeliest, sampled
from jaxdl.rl.rollout import rollout
from jaxdl.train import Options, Player, mean_over_steps
from jaxdl.types import Array, Batch, Key, Learner, Metrics, PyTree

Scalar = Callable[[PyTree], Array]  # of the params
TINY = 1e-12


def fisher_product(kl: Scalar, params: PyTree, v: PyTree) -> PyTree:
    """Multiply with the Fisher information without forming it: F v = ∂²KL(π_old ‖ π)/∂θ² v at θ_old."""
    return jax.jvp(jax.grad(kl), (params,), (v,))[1]


def natural_direction(gradient: PyTree, product: Callable[[PyTree], PyTree], iterations: int) -> PyTree:
    """Solve F x = g by conjugate gradients, from x = 0.

    α = rᵀr/dᵀFd,  x ← x + α d,  r′ = r − α F d,  d ← r′ + (r′ᵀr′/rᵀr) d
    """
    vdot, add_scale = optax.tree.vdot, optax.tree.add_scale

    def step(state: tuple[PyTree, PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree, PyTree], None]:
        x, r, d = state
        f_d, r_r = product(d), jnp.maximum(vdot(r, r), TINY)
        alpha = r_r / jnp.maximum(vdot(d, f_d), TINY)
        x, r = add_scale(x, alpha, d), add_scale(r, -alpha, f_d)
        return (x, r, add_scale(r, vdot(r, r) / r_r, d)), None

    # That of jax.scipy returns numbers without bound under a vmap of four or more (jax 0.10, CPU).
    start = optax.tree.zeros_like(gradient), gradient, gradient
    return jax.lax.scan(step, start, None, iterations)[0][0]


def largest_step(direction: PyTree, product: Callable[[PyTree], PyTree], delta: float | Array) -> PyTree:
    """Scale a direction to the edge of the trusted region: x·√(2δ / xᵀFx)."""
    curvature = optax.tree.vdot(direction, product(direction))
    return optax.tree.scale(jnp.sqrt(2 * delta / jnp.maximum(curvature, TINY)), direction)


def line_search(
    surrogate: Scalar,
    kl: Scalar,
    params: PyTree,
    step: PyTree,
    delta: float | Array,
    tries: int,
    shrink: float = 0.5,
) -> tuple[PyTree, Array]:
    """Take the largest of the steps s, ½s, ¼s … that raises the surrogate within the trusted region.

    Args:
        surrogate: L(θ), to be raised.
        kl: KL(π_old ‖ π_θ), at most δ.
        params: θ_old.
        step: s.
        delta: δ.
        tries: steps that are tried; after the last the params stay as they are.
        shrink: ½.

    Returns:
        The params, and how often the step was shrunk.
    """

    def moved(tried: Array) -> PyTree:
        return optax.tree.add_scale(params, shrink**tried, step)

    def refused(tried: Array) -> Array:
        theta = moved(tried)
        good = (surrogate(theta) > surrogate(params)) & (kl(theta) <= delta)
        return ~good & (tried < tries)

    tried = jax.lax.while_loop(refused, lambda tried: tried + 1, jnp.int32(0))
    return optax.tree.where(tried < tries, moved(tried), params), tried


def improve(
    surrogate: Scalar,
    kl: Scalar,
    old: PyTree,
    delta: Array,
    cg_iterations: int,
    damping: float,
    tries: int,
) -> tuple[PyTree, Metrics]:
    """Move the policy once, by δ at most."""

    def product(v: PyTree) -> PyTree:
        return optax.tree.add_scale(fisher_product(kl, old, v), damping, v)

    direction = natural_direction(jax.grad(surrogate)(old), product, cg_iterations)
    step = largest_step(direction, product, delta)
    params, tried = line_search(surrogate, kl, old, step, delta, tries)
    gain = surrogate(params) - surrogate(old)
    return params, {"gain": gain, "kl": kl(params), "shrunk": tried.astype(jnp.float32)}


def trpo(
    environment: Environment,
    policy: nn.Module,
    value: nn.Module,
    value_optimizer: optax.GradientTransformation,
    *,
    num_envs: int = 8,
    num_steps: int = 128,
    delta: optax.Schedule = optax.constant_schedule(0.01),
    cg_iterations: int = 10,
    damping: float = 0.1,
    tries: int = 10,
    value_epochs: int = 10,
    discount: float = 0.99,
    lambda_: float = 0.95,
    options: Options = Options(),
) -> Learner:
    """Improve a policy by a step whose size is measured in distributions instead of params.

    maximise L(θ) = E[π_θ(a∣s)/π_old(a∣s)·A]  subject to  E[KL(π_old(·∣s) ‖ π_θ(·∣s))] ≤ δ

    by θ = θ_old + αʲ √(2δ / xᵀFx) x,  (F + ηI) x = ∇L, with the smallest j that holds the bound and raises L.
    The policy moves without an optimizer; the value is a player that regresses on the returns.

    Args:
        environment: to act in.
        policy: observations [B, ...] -> what the head of the environment's actions takes.
        value: observations [B, ...] -> [B].
        value_optimizer: of the value.
        num_envs: N, environments acted in at once.
        num_steps: T, steps in each of them for one batch.
        delta: steps taken in each environment -> δ, in nats.
        cg_iterations: of the conjugate gradients.
        damping: η.
        tries: of the line search.
        value_epochs: gradient steps of the value on a batch.
        discount: γ.
        lambda_: λ of the advantages.
        options: of the value's gradient step.

    Returns:
        A Learner without batches; one step takes N·T environment steps and moves the policy once.

    Raises:
        ValueError: on a step under an axis name, of which it has no form.
    """
    distribution = head(environment.actions)
    pi: Any = policy.apply
    V: Any = value.apply

    def init(key: Key, observation: Array) -> tuple[Any, Any]:
        return init_policy_and_value(policy, value, key, observation), {}

    def value_loss(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        v = V(params["value"], batch["observation"])
        return (0.5 * (v - batch["target"]) ** 2).mean(), (model_state, {})

    def surrogate(params: PyTree, batch: Batch) -> Array:
        log_prob = jax.vmap(distribution.log_prob)(batch["action"], pi(params, batch["observation"]))
        return (jnp.exp(log_prob - batch["log_prob"]) * batch["advantage"]).mean()

    def kl(params: PyTree, batch: Batch) -> Array:
        return jax.vmap(distribution.kl)(batch["output"], pi(params, batch["observation"])).mean()

    def learn(step: GradientStep, state: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        old = state.params["policy"]
        act = partial(sampled, policy, distribution, old)
        worlds, path, episode_return = rollout(
            environment, act, state.worlds, key, num_steps, distribution.noise
        )
        advantage, v = advantages(partial(V, state.params["value"]), path, discount, lambda_)
        flat = flatten(path)
        output = pi(old, flat.observation)
        batch = {
            "observation": flat.observation,
            "action": flat.action,
            "output": output,
            "log_prob": jax.vmap(distribution.log_prob)(flat.action, output),
            "advantage": standardize(advantage.ravel()),
            "target": (advantage + v).ravel(),
        }
        reach = jnp.asarray(delta(state.worlds.time))
        L, D = partial(surrogate, batch=batch), partial(kl, batch=batch)
        moved, metrics = improve(L, D, old, reach, cg_iterations, damping, tries)
        metrics["entropy"] = jax.vmap(distribution.entropy)(output).mean()
        state = state.replace(worlds=worlds, params={**state.params, "policy": moved})
        state, regression = jax.lax.scan(lambda state, _: step(state, batch), state, None, value_epochs)
        return state, metrics | mean_over_steps(regression) | {"episode_return": episode_return}

    def greedy(params: Any, observation: Array, key: Key) -> Array:
        return likeliest(policy, distribution, params["policy"], observation, key)

    players = {"value": Player(value_loss, value_optimizer)}
    learner = agent(environment, init, players, learn, greedy, num_envs=num_envs, options=options)

    def step(
        state: AgentState, batch: Batch = None, *, axis_name: str | None = None
    ) -> tuple[AgentState, Metrics]:
        if axis_name is not None:
            message = f"trpo has no form under an axis name, here {axis_name!r}"
            raise ValueError(f"{message}; choose strategy jit or shard")
        return learner.step(state, batch)

    return learner._replace(step=step)
