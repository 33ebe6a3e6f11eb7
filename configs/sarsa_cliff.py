"""SARSA's safe path and Q-learning's edge of the cliff.

Paper: Sutton & Barto, Reinforcement Learning, 2018, example 6.6
Data: the cliff walk, built in
Command: jaxdl train configs/sarsa_cliff.py
Time: 8 s on 2 cores
Expected: greedy return -17 of SARSA, which keeps away from the edge, and -13 of Q-learning; while they
    explore, SARSA's episodes return about -23 and Q-learning's about -50
"""

import optax

from jaxdl.rl import side_by_side, tabular
from jaxdl.train import Experiment

TINY = {"steps": 64, "num_episodes": 10}

METHODS = {
    "sarsa": tabular.sarsa,
    "expected_sarsa": tabular.expected_sarsa,
    "q_learning": tabular.q_learning,
    "double_q_learning": tabular.double_q_learning,
}


def sarsa_cliff(
    methods: tuple[str, ...] = ("sarsa", "q_learning"),
    discount: float = 1.0,
    epsilon: float = 0.1,
    decay: float = 0.5,
    steps: int = 20_000,
    num_episodes: int = 100,
    seed: int = 0,
) -> Experiment:
    """Build the experiment.

    Args:
        methods: trained from the same key and drawn one below the other: sarsa, expected_sarsa, q_learning,
            double_q_learning.
        discount: γ.
        epsilon: ε of the ε-greedy policy that learns; it stays the same.
        decay: ω, the n-th visit of a state and action has the learning rate n^-ω.
        steps: transitions.
        num_episodes: that an evaluation follows the greedy policy for.
        seed: of everything random.
    """
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"methods has {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    mdp = tabular.cliff_walking()
    policy = tabular.scheduled(tabular.epsilon_greedy, optax.constant_schedule(epsilon))
    learners = {
        name: METHODS[name](
            mdp,
            policy,
            discount=discount,
            learning_rate=tabular.power_decay(decay),
            num_episodes=num_episodes,
        )
        for name in methods
    }
    return Experiment(
        side_by_side(learners, columns=1),
        steps,
        monitor=f"{methods[0]}/return",
        maximize=True,
        steps_per_call=500,
        seed=seed,
    )
