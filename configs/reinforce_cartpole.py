"""REINFORCE on CartPole, with a learned baseline or without.

Paper: Williams, Simple Statistical Gradient-Following Algorithms for Connectionist RL, 1992
Data: drawn from the environment
Command: jaxdl train configs/reinforce_cartpole.py
    jaxdl train configs/reinforce_cartpole.py --no-baseline
Time: 15 s on 2 cores
Expected: mean return >= 475 of greedy CartPole episodes
"""

import optax

from jaxdl import optim
from jaxdl.nets.policy import StateValue
from jaxdl.rl import make, policy_net, reinforce
from jaxdl.train import Experiment, Options

TINY = {"hidden": (16,), "num_envs": 4, "steps": 64}


def reinforce_cartpole(
    environment: str = "CartPole-v1",
    baseline: bool = True,
    reward_to_go: bool = True,
    hidden: tuple[int, ...] = (64, 64),
    num_envs: int = 16,
    discount: float = 0.99,
    entropy_weight: float = 0.0,
    learning_rate: float = 3e-3,
    steps: int = 200,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME for one of gymnasium on the host.
        baseline: whether a learned value is subtracted from the returns.
        reward_to_go: whether an action is credited with what follows it only.
        hidden: widths of the hidden layers of policy and baseline.
        num_envs: episodes played for one gradient step.
        discount: γ.
        entropy_weight: of the entropy bonus.
        learning_rate: of the policy's Adam at first; it falls linearly to zero. The baseline's is three times
            as high and stays.
        steps: gradient steps of the run.
        seed: of everything random.
        options: of the gradient step.
    """
    world = make(environment)
    learner = reinforce(
        world,
        policy_net(world.actions, hidden),
        optim.adam(optax.linear_schedule(learning_rate, 0.0, steps)),
        baseline=StateValue(hidden) if baseline else None,
        baseline_optimizer=optim.adam(3 * learning_rate) if baseline else None,
        num_envs=num_envs,
        discount=discount,
        reward_to_go=reward_to_go,
        entropy_weight=entropy_weight,
        options=options,
    )
    return Experiment(learner, steps, monitor="return", maximize=True, seed=seed)
