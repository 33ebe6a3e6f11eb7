"""What all agents share: a state that holds their worlds, greedy evaluation, and a film of an episode."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from jaxdl.rl.envs import Environment
from jaxdl.rl.rollout import enter, episode_returns, film
from jaxdl.train import Options, Player, TrainState, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs

GradientStep = Callable[[Any, Batch], tuple[Any, Metrics]]
MAX_FRAMES = 250  # of an animation


class AgentState(TrainState):
    """A TrainState, and where its experience comes from.

    Its `step` counts gradient steps; `worlds.time` counts the steps taken in each environment.

    Attributes:
        worlds: environments in progress.
        replay: the replay buffer of an agent that has one.
    """

    worlds: Any = None
    replay: Any = None


def agent(
    environment: Environment,
    init: Callable[[Key, Array], tuple[Mapping[str, Any], Any]],
    players: Mapping[str, Player],
    learn: Callable[[GradientStep, AgentState, Key], tuple[AgentState, Metrics]],
    greedy: Callable[[Any, Array, Key], Array],
    *,
    num_envs: int,
    prepare: Callable[[AgentState, Key], AgentState] | None = None,
    num_episodes: int = 100,
    options: Options = Options(),
) -> Learner:
    """Build a Learner that draws its own experience.

    Args:
        environment: to act in.
        init: (key, observations [N, ...]) -> (params, model_state), params keyed by player.
        players: as those of `gradient_learner`; their batch is what `learn` hands to the gradient step.
        learn: (gradient_step, state, key) -> (state, metrics): collect experience and learn from it.
        greedy: (params, observations [N, ...], key) -> actions [N, ...], the policy that is evaluated.
        num_envs: N, environments in progress.
        prepare: (state, key) -> state, what precedes the first step, such as filling the replay buffer.
        num_episodes: that an evaluation plays.
        options: of the shared gradient step.

    Returns:
        A Learner without batches. It evaluates the return and length of greedy episodes, and films one of
        them where the environment has a drawing. Under an axis name each member has worlds of its own, and
        gradients are averaged. It exports act: observation -> action, the greedy one.
    """

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return episode_returns(environment, partial(greedy, params), key, num_episodes)

    @jax.jit
    def episode(params: Any, key: Key) -> tuple[Array, Array]:
        every = -(-environment.time_limit // MAX_FRAMES)
        return film(environment, partial(greedy, params), key, environment.time_limit // every, every)

    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        if environment.draw is None:
            return {}
        frames, num = episode(params, key)
        return {"episode": frames[:num]}

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        def act(observation: Array) -> Array:
            return greedy(params, observation[None], jax.random.key(0))[0]

        worlds = jax.eval_shape(partial(enter, environment, num=1), jax.random.key(0))
        return {"act": (act, worlds.observation)}

    gradient = gradient_learner(
        init, players, evaluate=evaluate, render=render, export=export, options=options
    )

    def init_state(key: Key, batch: Batch = None) -> AgentState:
        key_train, key_worlds, key_prepare = jax.random.split(key, 3)
        worlds = enter(environment, key_worlds, num_envs)
        trained = gradient.init(key_train, worlds.observation)
        state = AgentState(**vars(trained), worlds=worlds)
        return state if prepare is None else prepare(state, key_prepare)

    def step(
        state: AgentState, batch: Batch = None, *, axis_name: str | None = None
    ) -> tuple[AgentState, Metrics]:
        key = jax.random.fold_in(state.worlds.key, state.worlds.time)
        return learn(partial(gradient_step, gradient.step, axis_name), state, key)

    return gradient._replace(init=init_state, step=step)


def gradient_step(
    step: Callable[..., tuple[Any, Metrics]], axis_name: str | None, state: AgentState, batch: Batch
) -> tuple[AgentState, Metrics]:
    """Take a gradient step apart from worlds and replay, which a resting player would copy under vmap."""
    after, metrics = step(state.replace(worlds=None, replay=None), batch, axis_name=axis_name)
    return after.replace(worlds=state.worlds, replay=state.replay), metrics
