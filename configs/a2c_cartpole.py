"""Advantage actor-critic on CartPole, or another environment of gymnax.

Paper: Mnih et al., Asynchronous Methods for Deep Reinforcement Learning, 2016
Data: drawn from the environment
Command: jaxdl train configs/a2c_cartpole.py
    jaxdl train configs/a2c_cartpole.py --gae-lambda 0
Time: 15 s on 2 cores
Expected: mean return 500 of greedy CartPole episodes, by A2C and by actor-critic with TD advantage
"""

import optax

from jaxdl import optim
from jaxdl.nets.policy import StateValue
from jaxdl.rl import actor_critic, make, policy_net
from jaxdl.train import Experiment, Options

TINY = {"hidden": (16,), "num_envs": 4, "num_steps": 4, "env_steps": 1_024}


def a2c_cartpole(
    environment: str = "CartPole-v1",
    hidden: tuple[int, ...] = (64, 64),
    num_envs: int = 8,
    num_steps: int = 8,
    discount: float = 0.99,
    gae_lambda: float = 1.0,
    value_weight: float = 0.5,
    entropy_weight: float = 0.0,
    learning_rate: float = 2e-3,
    env_steps: int = 500_000,
    seed: int = 0,
    options: Options = Options(clip_norm=0.5),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME for one of gymnasium on the host.
        hidden: widths of the hidden layers of policy and value.
        num_envs: environments acted in at once.
        num_steps: steps in each of them for one gradient step.
        discount: γ.
        gae_lambda: λ of the advantages: 1 is A2C, 0 the actor-critic with the temporal-difference error.
        value_weight: of the value's loss.
        entropy_weight: of the entropy bonus.
        learning_rate: of Adam at first; it falls linearly to zero.
        env_steps: environment steps of the run.
        seed: of everything random.
        options: of the gradient step.
    """
    world = make(environment)
    steps = max(1, env_steps // (num_envs * num_steps))
    learner = actor_critic(
        world,
        policy_net(world.actions, hidden),
        StateValue(hidden),
        optim.adam(optax.linear_schedule(learning_rate, 0.0, steps)),
        num_envs=num_envs,
        num_steps=num_steps,
        discount=discount,
        lambda_=gae_lambda,
        value_weight=value_weight,
        entropy_weight=entropy_weight,
        options=options,
    )
    return Experiment(learner, steps, monitor="return", maximize=True, steps_per_call=128, seed=seed)
