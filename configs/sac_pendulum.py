"""Soft actor-critic with a learned temperature on Pendulum.

Paper: Haarnoja et al., Soft Actor-Critic Algorithms and Applications, 2018
Data: drawn from the environment
Command: jaxdl train configs/sac_pendulum.py
Time: 1 min on 2 cores
Expected: mean return >= -160 of Pendulum episodes without noise; median of 5 seeds -151
"""

from jaxdl import optim
from jaxdl.nets.policy import Critics, StateDependentGaussianPolicy
from jaxdl.rl import Schedule, make, num_dims, sac
from jaxdl.train import Experiment, Options

TINY = {
    "hidden": (16,),
    "env_steps": 64,
    "schedule": Schedule(batch_size=16, capacity=128, warmup=32),
}


def sac_pendulum(
    environment: str = "Pendulum-v1",
    hidden: tuple[int, ...] = (64, 64),
    target_rate: float = 0.01,
    learning_rate: float = 1e-3,
    env_steps: int = 20_000,
    seed: int = 0,
    schedule: Schedule = Schedule(capacity=20_000, discount=0.98),
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME; actions must lie in a box.
        hidden: widths of the hidden layers of policy and critics.
        target_rate: share of the way that the target critics follow at each gradient step.
        learning_rate: of the three Adams.
        env_steps: environment steps of the run, besides the random ones before it.
        seed: of everything random.
        schedule: how acting and learning take turns.
        options: of the gradient step.
    """
    world = make(environment)
    learner = sac(
        world,
        StateDependentGaussianPolicy(num_dims(world), hidden),
        Critics(2, hidden),
        optim.adam(learning_rate),
        target_rate=target_rate,
        schedule=schedule,
        options=options,
    )
    steps = max(1, env_steps // (schedule.num_envs * schedule.collect))
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=200, seed=seed)
