"""C51 on CartPole: Q-learning of the distribution of returns.

Paper: Bellemare, Dabney & Munos, A Distributional Perspective on Reinforcement Learning, 2017
Data: drawn from the environment
Command: jaxdl train configs/c51_cartpole.py
Time: 1 min on 2 cores
Expected: mean return 500 of greedy CartPole episodes
"""

import optax

from jaxdl import optim
from jaxdl.nets.policy import ReturnDistribution
from jaxdl.rl import Schedule, c51, make, num_actions
from jaxdl.train import Experiment, Options

TINY = {
    "hidden": (16,),
    "num_atoms": 11,
    "env_steps": 512,
    "schedule": Schedule(num_envs=2, collect=2, updates=2, batch_size=16, capacity=128, warmup=32, n=2),
}


def c51_cartpole(
    environment: str = "CartPole-v1",
    num_atoms: int = 51,
    low: float = 0.0,
    high: float = 70.0,
    hidden: tuple[int, ...] = (64, 64),
    explore_share: float = 0.16,
    explore_last: float = 0.05,
    target_rate: float = 0.005,
    target_every: int = 1,
    learning_rate: float = 1e-3,
    env_steps: int = 92_000,
    seed: int = 0,
    schedule: Schedule = Schedule(
        num_envs=8, collect=8, updates=32, capacity=12_500, warmup=1_000, n=5, discount=0.985
    ),
    options: Options = Options(clip_norm=1.0),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME; actions must be discrete.
        num_atoms: returns that have a probability.
        low: the smallest of them.
        high: the largest of them.
        hidden: widths of the hidden layers.
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
    steps = max(1, env_steps // (schedule.num_envs * schedule.collect))
    decay = max(1, int(explore_share * steps * schedule.collect))  # over 0 steps it would never fall
    learner = c51(
        world,
        ReturnDistribution(num_actions(world), num_atoms, hidden),
        optim.adam(optax.linear_schedule(learning_rate, 0.0, steps * schedule.updates)),
        low=low,
        high=high,
        epsilon=optax.linear_schedule(1.0, explore_last, decay),
        target_rate=target_rate,
        target_every=target_every,
        schedule=schedule,
        options=options,
    )
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=64, seed=seed)
