"""Deterministic policy gradients on Pendulum: TD3, or DDPG.

Paper: Fujimoto et al., Addressing Function Approximation Error in Actor-Critic Methods, 2018;
    Lillicrap et al., Continuous Control with Deep Reinforcement Learning, 2016
Data: drawn from the environment
Command: jaxdl train configs/td3_pendulum.py
    jaxdl train configs/td3_pendulum.py --num-critics 1 --smoothing-std 0 --policy-every 1
Time: 30 s on 2 cores
Expected: mean return >= -160 of Pendulum episodes without noise; medians of 5 seeds: TD3 -150, DDPG -147
"""

from jaxdl import optim
from jaxdl.nets.policy import Critics, DeterministicPolicy
from jaxdl.rl import Schedule, make, num_dims, td3
from jaxdl.train import Experiment, Options

TINY = {
    "hidden": (16,),
    "env_steps": 64,
    "schedule": Schedule(batch_size=16, capacity=128, warmup=32),
}


def td3_pendulum(
    environment: str = "Pendulum-v1",
    num_critics: int = 2,
    smoothing_std: float = 0.2,
    policy_every: int = 2,
    exploration_std: float = 0.1,
    hidden: tuple[int, ...] = (64, 64),
    target_rate: float = 0.01,
    learning_rate: float = 1e-3,
    env_steps: int = 20_000,
    seed: int = 0,
    schedule: Schedule = Schedule(capacity=20_000, discount=0.98),
    options: Options = Options(),
) -> Experiment:
    """Build the experiment; one critic, no smoothing and a policy that moves at every step are DDPG.

    Args:
        environment: its name in gymnax, or gymnasium/NAME; actions must lie in a box.
        num_critics: critics, the least of which counts.
        smoothing_std: of the noise on the next action, as the critics' target values it.
        policy_every: gradient steps of the critics to one of the policy.
        exploration_std: of the noise on actions taken, where they lie between -1 and 1.
        hidden: widths of the hidden layers of policy and critics.
        target_rate: share of the way that the target networks follow when the policy moves.
        learning_rate: of both Adams.
        env_steps: environment steps of the run, besides the random ones before it.
        seed: of everything random.
        schedule: how acting and learning take turns.
        options: of the gradient step.
    """
    world = make(environment)
    learner = td3(
        world,
        DeterministicPolicy(num_dims(world), hidden),
        Critics(num_critics, hidden),
        optim.adam(learning_rate),
        exploration_std=exploration_std,
        smoothing_std=smoothing_std,
        policy_every=policy_every,
        target_rate=target_rate,
        schedule=schedule,
        options=options,
    )
    steps = max(1, env_steps // (schedule.num_envs * schedule.collect))
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=200, seed=seed)
