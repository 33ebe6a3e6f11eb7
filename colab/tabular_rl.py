"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Tabular reinforcement learning
#
# An agent in state $s$ takes an action $a$, receives a reward $r$ and finds itself in $s'$. It wants the
# discounted sum of rewards, $G_t = r_{t+1} + \gamma r_{t+2} + \gamma^2 r_{t+3} + \dots$, to be high. Where
# states are few, all that there is to learn fits into a table:
#
# $$v_\pi(s) = \mathbb E_\pi[G_t \mid s_t = s], \; q_\pi(s, a) = \mathbb E_\pi[G_t \mid s_t = s, a_t = a] .$$
#
# First the process is known, and the values are computed. Then it is not, and they are learned: from whole
# episodes, from single transitions, and from a model. The names follow Sutton & Barto (2018).

# %%
import importlib.util
import subprocess
import sys

if None in map(importlib.util.find_spec, ("jaxdl", "gymnasium")):  # ".." is the folder of the repository
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "..[rl]"], check=True)
    importlib.invalidate_caches()

# %%
import dataclasses
import inspect
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from jaxdl import config, objectives
from jaxdl.rl import learning_curves, tabular
from jaxdl.train import fit, render_pictures

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook


def train(name, **arguments):
    """Train a config; return its experiment, the final state, and what it reached in fresh episodes."""
    function = config.load(Path(f"../configs/{name}.py"))
    experiment = function(**arguments | (function.__globals__["TINY"] if FAST else {}))
    if FAST:
        experiment = dataclasses.replace(experiment, eval_every=experiment.steps)
    result = fit(experiment, quiet=True)
    print(name, {metric: round(value, 3) for metric, value in result.metrics.items()})
    return experiment, result


def show(pictures, width=4.0):
    """Draw pictures {title: [H, W, 3]} side by side."""
    _, axes = plt.subplots(1, len(pictures), figsize=(width * len(pictures), width), layout="constrained")
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set(title=title)
        axis.axis("off")
    plt.show()


# %% [markdown]
# ## A process is two tensors
#
# $P(s' \mid s, a)$, of shape [S, A, S], and the rewards $r(s, a, s')$. `MDP` holds both, where episodes begin
# and end, and a layout to draw. On the frozen lake there are 16 states and 4 actions. Reaching the goal gives
# 1, a hole ends the episode, and the ice is slippery: to go right leads right, up or down, each with
# probability 1/3.

# %%
lake = tabular.frozen_lake()
print("P", lake.P.shape, "R", lake.R.shape, "holes and goal", jnp.flatnonzero(lake.terminal))
print("from state 14, to the right:", lake.P[14, 2].round(2))

# %% [markdown]
# ## When the process is known
#
# The best values solve the Bellman equation, and a sweep of value iteration makes it an update:
#
# $$v_{k+1}(s) = \max_a \Big[R(s, a) + \gamma \sum_{s'} P(s' \mid s, a)\, v_k(s')\Big],
# \qquad \lVert v_{k+1} - v_* \rVert_\infty \le \gamma \lVert v_k - v_* \rVert_\infty .$$
#
# For all states at once it is one line, with another for the values of actions.

# %%
print(inspect.getsource(objectives.bellman_optimality_backup).split('"""')[-1])
print(inspect.getsource(objectives.action_values).split('"""')[-1])

discount, v, sweeps = 0.99, jnp.zeros(16), []
backup = jax.jit(objectives.bellman_optimality_backup)
for _ in range(400):
    sweeps.append(v)
    v = backup(lake.P, lake.R, discount, v)
distance = jnp.abs(jnp.stack(sweeps) - v[None]).max(axis=1)

figure, axes = plt.subplots(1, 4, figsize=(15, 3.4), layout="constrained")
for axis, k in zip(axes[:3], (1, 5, 300), strict=True):
    image = axis.imshow(sweeps[k].reshape(4, 4), vmin=0, vmax=1)
    axis.set(title=f"$v_k$, $k = {k}$", xticks=[], yticks=[])
figure.colorbar(image, ax=axes[2])
axes[3].semilogy(distance[:300], label="distance to $v_*$")
axes[3].semilogy(distance[0] * discount ** jnp.arange(300), "k--", label="the bound, $\\gamma^k$")
axes[3].set(xlabel="sweeps", ylim=(1e-4, 2))
axes[3].legend()
plt.show()

# %% [markdown]
# The same as a learner, with the greedy policy of the values followed in 10,000 episodes. In the pictures
# bright is more, terminal states are grey, and the arrows are the actions that the policy may take. On ice
# they point away from the holes, not at the goal.

# %%
planned, result = train("value_iteration_frozenlake", **{"environment": "frozenlake"})
pictures = render_pictures(planned.learner, None, result.state, jax.random.key(0))
show({"values and policy": pictures["values"], "share of episodes that meet a state": pictures["path"]})

# %% [markdown]
# ## When it is not known: the values of a policy
#
# An agent that only walks can still learn $v_\pi$. After each transition TD(0) moves $v(s)$ by the error that
# it sees, and TD($\lambda$) moves the states before it, too, each by its trace $e$ (Sutton, 1988):
#
# $$\delta = r + \gamma v(s') - v(s), \qquad e \leftarrow \gamma \lambda e + 1_s, \qquad
# v \leftarrow v + \alpha\, \delta\, e .$$
#
# At $\lambda = 0$ a state moves towards the one-step target $r + \gamma v(s')$, at $\lambda = 1$ towards the
# whole return, as in Monte Carlo. `lambda_returns` shows what lies between, here for three steps with a
# reward at the end.

# %%
reward, discounts, values = jnp.array([0.0, 0.0, 1.0]), jnp.full(3, 0.9), jnp.array([0.5, 0.5, 0.0])
print("delta of the last step:", objectives.td_error(values[1], reward[2], discounts[2], values[2]))
for lambda_ in (0.0, 0.5, 1.0):
    print(f"lambda = {lambda_}:", objectives.lambda_returns(reward, discounts, values, lambda_))

# %% [markdown]
# A random walk over 19 states between two ends, -1 at the left and 1 at the right, has the true values
# $2i/20 - 1$. `learning_curves` trains 20 seeds at once by `jax.vmap`, and measures their error on the way.

# %%
walk = tabular.random_walk()
steps, every, seeds = (64, 32, 2) if FAST else (10_000, 500, 20)
figure, axes = plt.subplots(1, 2, figsize=(12, 3.6))
for lambda_ in (0.9,) if FAST else (0.0, 0.5, 0.9, 1.0):
    rate = tabular.power_decay(0.6)
    learner = tabular.td_lambda(walk, walk.random_policy, discount=1.0, learning_rate=rate, lambda_=lambda_)
    curves = learning_curves(learner, jax.random.key(0), seeds, steps, every, "value_error")
    axes[0].plot(curves.steps, curves.values.mean(axis=1), label=f"$\\lambda = {lambda_}$")
axes[0].set(xlabel="transitions", ylabel="error of values, mean", title="TD($\\lambda$) on the random walk")
axes[0].legend()

prediction, result = train("td_random_walk", lambda_=0.8)
v = result.state.v  # [seeds, 21], the two ends included
axes[1].plot(jnp.arange(1, 20), v[:, 1:-1].T, color="tab:blue", alpha=0.3)
axes[1].plot(jnp.arange(1, 20), jnp.arange(1, 20) / 10 - 1, "k--", label="truth")
axes[1].set(xlabel="state", ylabel="$v$", title="values of ten seeds after 50,000 transitions")
axes[1].legend()
plt.show()

# %% [markdown]
# ## Control: on the policy or off it
#
# To act, values of actions are needed. Two methods differ in the value that they see in the next state:
#
# | method | target | function |
# |---|---|---|
# | SARSA | $r + \gamma\, q(s', a')$, of the action $a'$ taken next | `sarsa_error` |
# | Q-learning | $r + \gamma \max_{a'} q(s', a')$ | `q_learning_error` |
#
# Both explore: with probability $\varepsilon$ the action is random. SARSA learns the values of that policy,
# Q-learning those of the best one. Walk along a cliff, where a step costs 1 and a fall 100, and the
# difference can be seen.

# %%
q_tm1, q_t, action = jnp.zeros(2), jnp.array([-100.0, -5.0]), jnp.array(0)
print("SARSA, which falls next:", objectives.sarsa_error(q_tm1, action, -1.0, 1.0, q_t, jnp.array(0)))
print("Q-learning:", objectives.q_learning_error(q_tm1, action, -1.0, 1.0, q_t))

cliff, result = train("sarsa_cliff")
pictures = render_pictures(cliff.learner, None, result.state, jax.random.key(0))
show({"SARSA above, Q-learning below": pictures["values"], "their greedy paths": pictures["path"]}, width=6)

figure, axis = plt.subplots(figsize=(7, 3))
for name in ("sarsa", "q_learning"):
    rows = [row for row in result.rows if row["split"] == "train"]
    axis.plot([row["step"] for row in rows], [row[f"{name}/episode_return"] for row in rows], label=name)
axis.set(xlabel="transitions", ylabel="return while exploring", ylim=(-120, 0))
axis.legend()
plt.show()

# %% [markdown]
# The greedy policy of Q-learning is the shorter one, 13 steps to 17. But while both explore, it is SARSA
# that earns more: it knows that it stumbles.
#
# ## Q-learning on the ice
#
# Nothing but experience, 200,000 transitions of it for each of five seeds, leads to nearly the values that
# value iteration computed. The learning rate of the $n$-th visit of a state and action is $n^{-0.6}$.

# %%
ice, result = train("q_learning_frozenlake")
pictures = render_pictures(ice.learner, None, result.state, jax.random.key(0))
show({"values and policy, learned": pictures["values"], "where it walks": pictures["path"]})
learned = result.state.q.mean(axis=1).max(axis=-1)  # [seeds, S]
print(f"v*(start) {sweeps[-1][0]:.3f}, learned {learned[:, 0].round(3)}")

# %% [markdown]
# ## A model that is learned
#
# Dyna-Q (Sutton, 1990) counts what follows what, and after each real transition replays 50 that it makes up
# from its counts. Experience is used more than once. In a maze whose shortest way is 14 steps:

# %%
figure, axis = plt.subplots(figsize=(7, 3))
for planning_steps in (5,) if FAST else (0, 50):
    maze, result = train("dyna_q_maze", planning_steps=planning_steps)
    rows = [row for row in result.rows if row["split"] == "validation"]
    lengths = [row["median_length"] for row in rows]
    axis.plot([row["step"] for row in rows], lengths, "o-", label=f"{planning_steps} made-up transitions")
axis.axhline(14, color="k", ls="--")
axis.set(xlabel="real transitions", ylabel="steps to the goal, greedy", ylim=(0, 520))
axis.legend()
plt.show()
show(dict(render_pictures(maze.learner, None, result.state, jax.random.key(0))), width=5)

# %% [markdown]
# ## Yours
#
# * `train("value_iteration_frozenlake", method="policy_iteration", steps=12)` ends after a few steps.
# * `train("sarsa_cliff", methods=("expected_sarsa", "double_q_learning"))`. Which side is each on?
# * `train("q_learning_frozenlake", environment="taxi", decay=0.0)` has 500 states.
# * `train("monte_carlo_frozenlake")` waits for the end of each episode. What does it cost?
# * A table of your own, `{s: {a: [(probability, s', reward, terminated), ...]}}`, becomes an `MDP` by
#   `tabular.from_table`.
