"""Deep Q-network on CartPole: double, dueling, n-step and prioritized by choice.

Paper: Mnih et al., Human-level Control through Deep Reinforcement Learning, 2015
Data: drawn from the environment
Command: jaxdl train configs/dqn_cartpole.py
    jaxdl train configs/dqn_cartpole.py --dueling --prioritized
    jaxdl train configs/dqn_cartpole.py --environment MountainCar-v0 --unit --octaves 2 --collect 2
    --updates 8 --explore-share 0.3 --explore-last 0.02 --target-rate 0.01 --discount 0.99 --env-steps 100000
Time: 30 s on 2 cores
Expected: mean return 500 of greedy CartPole episodes, the median of 5 seeds; MountainCar >= -110
"""

import optax

from jaxdl import optim
from jaxdl.nets.policy import ActionValues
from jaxdl.rl import Priority, Schedule, dqn, make, num_actions, unit_observations
from jaxdl.train import Experiment, Options

TINY = {
    "hidden": (16,),
    "env_steps": 512,
    "schedule": Schedule(num_envs=2, collect=2, updates=2, batch_size=16, capacity=128, warmup=32, n=2),
}


def dqn_cartpole(
    environment: str = "CartPole-v1",
    unit: bool = False,
    double: bool = True,
    dueling: bool = False,
    prioritized: bool = False,
    hidden: tuple[int, ...] = (64, 64),
    octaves: int = 0,
    explore_share: float = 0.16,
    explore_last: float = 0.05,
    target_rate: float = 0.005,
    target_every: int = 1,
    learning_rate: float = 1e-3,
    env_steps: int = 92_000,
    seed: int = 0,
    schedule: Schedule = Schedule(
        num_envs=8, collect=8, updates=32, capacity=12_500, warmup=1_000, n=5, discount=0.99
    ),
    options: Options = Options(clip_norm=1.0),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME; actions must be discrete.
        unit: whether bounded observations are scaled to [-1, 1].
        double: whether the next action is chosen by the network that learns, and valued by the target.
        dueling: whether the net adds a state's value and its actions' advantages.
        prioritized: whether transitions of large error are drawn more often.
        hidden: widths of the hidden layers.
        octaves: of sines and cosines of the observation that the net sees beside it.
        explore_share: share of the run in which the probability of a random action falls from 1 to the last.
        explore_last: that probability from then on.
        target_rate: share of the way that the target network follows; 1 copies.
        target_every: gradient steps from one such move to the next.
        learning_rate: of Adam at first; it falls linearly to zero.
        env_steps: environment steps of the run, besides the random ones before it.
        seed: of everything random.
        schedule: how acting and learning take turns.
        options: of the gradient step.
    """
    world = make(environment)
    if unit:
        world = unit_observations(world)
    steps = max(1, env_steps // (schedule.num_envs * schedule.collect))
    decay = max(1, int(explore_share * steps * schedule.collect))  # over 0 steps it would never fall
    learner = dqn(
        world,
        ActionValues(num_actions(world), hidden, dueling=dueling, octaves=octaves),
        optim.adam(optax.linear_schedule(learning_rate, 0.0, steps * schedule.updates)),
        epsilon=optax.linear_schedule(1.0, explore_last, decay),
        target_rate=target_rate,
        target_every=target_every,
        double=double,
        priority=Priority(steps=steps * schedule.updates) if prioritized else None,
        schedule=schedule,
        options=options,
    )
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=64, seed=seed)
