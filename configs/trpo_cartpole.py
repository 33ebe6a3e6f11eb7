"""Trust region policy optimization on CartPole, or another environment of gymnax.

Paper: Schulman et al., Trust Region Policy Optimization, 2015
Data: drawn from the environment
Command: jaxdl train configs/trpo_cartpole.py
Time: 15 s on 2 cores
Expected: mean return 500 of greedy CartPole episodes
"""

import optax

from jaxdl import optim
from jaxdl.nets.policy import StateValue
from jaxdl.rl import make, policy_net, trpo
from jaxdl.train import Experiment, Options

TINY = {"hidden": (16,), "num_envs": 4, "num_steps": 16, "env_steps": 2_048}


def trpo_cartpole(
    environment: str = "CartPole-v1",
    hidden: tuple[int, ...] = (64, 64),
    num_envs: int = 8,
    num_steps: int = 128,
    delta: float = 0.02,
    value_epochs: int = 20,
    discount: float = 0.98,
    gae_lambda: float = 0.95,
    learning_rate: float = 1e-3,
    env_steps: int = 100_000,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        environment: its name in gymnax, or gymnasium/NAME for one of gymnasium on the host.
        hidden: widths of the hidden layers of policy and value.
        num_envs: environments acted in at once.
        num_steps: steps in each of them for one batch.
        delta: how far one step moves the policy at first, in nats; it falls linearly to zero.
        value_epochs: gradient steps of the value on a batch.
        discount: γ.
        gae_lambda: λ of the advantages.
        learning_rate: of Adam, for the value.
        env_steps: environment steps of the run.
        seed: of everything random.
        options: of the value's gradient step.
    """
    world = make(environment)
    learner = trpo(
        world,
        policy_net(world.actions, hidden),
        StateValue(hidden),
        optim.adam(learning_rate),
        num_envs=num_envs,
        num_steps=num_steps,
        delta=optax.linear_schedule(delta, 0.0, env_steps // num_envs),
        value_epochs=value_epochs,
        discount=discount,
        lambda_=gae_lambda,
        options=options,
    )
    steps = max(1, env_steps // (num_envs * num_steps))
    return Experiment(learner, steps, monitor="return", maximize=True, seed=seed)
