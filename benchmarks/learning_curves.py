"""Draw learning curves of several methods on CartPole, the mean over seeds and its 95 % confidence band.

Command: python benchmarks/learning_curves.py [--seeds 5]
Time: 3 min on 2 cores

The learners are those of the configs, at their defaults; the seeds of a method train at once by `jax.vmap`.
The picture goes to docs/learning_curves.png.
"""

import argparse
from pathlib import Path

import jax

from jaxdl import config
from jaxdl.rl import learning_curves, save_learning_curves
from jaxdl.rl.curves import Curves

ROOT = Path(__file__).parents[1]
# method: (config, environment steps in a step of its learner)
METHODS = {
    "PPO": ("ppo_cartpole", 8 * 32),
    "TRPO": ("trpo_cartpole", 8 * 128),
    "DQN": ("dqn_cartpole", 8 * 8),
}
ENV_STEPS, POINTS = 80_000, 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    curves = {}
    for method, (name, each) in METHODS.items():
        experiment = config.load(ROOT / "configs" / f"{name}.py")()
        every = ENV_STEPS // POINTS // each
        steps, values = learning_curves(
            experiment.learner, jax.random.key(0), given.seeds, every * POINTS, every
        )
        curves[method] = Curves(steps * each, values)
        print(method, values.mean(axis=1).round(), flush=True)
    save_learning_curves(ROOT / "docs" / "learning_curves.png", curves)


if __name__ == "__main__":
    main()
