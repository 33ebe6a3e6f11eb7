"""What the tests of agents share: an environment whose every number is in sight."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.rl import Box, Environment, TimeStep

START, LED_TO = np.asarray([1.0, 0.5], np.float32), np.asarray([-0.5, 1.0], np.float32)


def bandit(actions, reward):
    """Lead from START to LED_TO in episodes of one step; the action brings reward(action).

    Whether a step terminates or truncates stands in the state: at first it terminates.
    """

    def reset(key):
        return {"terminated": jnp.ones((), bool), "truncated": jnp.zeros((), bool)}, jnp.asarray(START)

    def step(key, state, action):
        return state, TimeStep(jnp.asarray(START), reward(action), **state, final_observation=LED_TO)

    return Environment(reset, step, Box(-np.ones(2), np.ones(2)), actions, 1)


@pytest.fixture(name="bandit")
def bandit_of():
    """bandit(actions, reward) -> Environment, and the two observations START and LED_TO."""
    return bandit, START, LED_TO
