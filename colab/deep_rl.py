"""The notebook of the same name, which `python colab/pair.py` writes from this script."""

# %% [markdown]
# # Deep reinforcement learning
#
# When there are too many states for a table, a net takes its place: of the policy $\pi(a \mid s)$, of the
# values $Q(s, a)$, or of both. Here three agents learn to balance a pole on a cart:
#
# | agent | net of | learns from |
# |---|---|---|
# | REINFORCE | the policy | whole episodes, each once |
# | PPO | the policy and $V(s)$ | a batch of its own steps, several times |
# | DQN | $Q(s, a)$ | a buffer of old steps, again and again |
#
# The environment is a pure function, compiled together with the agent, and the state of an agent holds its
# environments and its buffer. So an agent is a learner like any other, and `fit` trains it.

# %%
import importlib.util
import subprocess
import sys

if None in map(importlib.util.find_spec, ("jaxdl", "gymnax")):  # ".." is the folder of the repository
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

from jaxdl import config, objectives, rl
from jaxdl.nets.policy import ActionValues
from jaxdl.train import fit, render_pictures

FAST = "JAXDL_FAST" in os.environ  # set by a test that runs this notebook


def train(name, **arguments):
    """Train a config; return its experiment, the final state and all that was measured on the way."""
    function = config.load(Path(f"../configs/{name}.py"))
    experiment = function(**arguments | (function.__globals__["TINY"] if FAST else {}))
    if FAST:
        experiment = dataclasses.replace(experiment, eval_every=experiment.steps)
    result = fit(experiment, quiet=True)
    print(name, arguments, {metric: round(value, 1) for metric, value in result.metrics.items()})
    return experiment, result


def curve(result, split, metric):
    """Return the steps and the values of a metric that was measured during a run."""
    rows = [row for row in result.rows if row["split"] == split and metric in row]
    return [row["step"] for row in rows], [row[metric] for row in rows]


def show_episode(experiment, state, title, frames=10):
    """Draw an episode of the greedy policy, some of its frames side by side."""
    film = render_pictures(experiment.learner, None, state, jax.random.key(1))["episode"]
    chosen = jnp.linspace(0, len(film) - 1, frames).astype(int)
    _, axis = plt.subplots(figsize=(14, 1.7))
    axis.imshow(jnp.concatenate(list(film[chosen]), axis=1))
    axis.set(title=title)
    axis.axis("off")
    plt.show()


# %% [markdown]
# ## A world of two functions
#
# `reset` starts an episode, `step` answers an action. Each step that the pole stands gives a reward of 1.
# After 500 steps the episode is `truncated`; if the pole falls, it is `terminated`. The difference matters:
# after termination nothing is to come, while a state that was cut off still has its value.

# %%
world = rl.from_gymnax("CartPole-v1")
print("actions", world.actions, "time limit", world.time_limit)
env_state, observation = world.reset(jax.random.key(0))
chance = world.chance(jax.random.key(1))  # all that is random in a step
env_state, found = jax.jit(world.step)(chance, env_state, jnp.array(1))
print("cart and pole, place and speed of each:", observation.round(3))
print("after a push to the right:", found.observation.round(3), "reward", found.reward)

# %% [markdown]
# ## The policy gradient
#
# The expected return grows along (Williams, 1992)
#
# $$\nabla J = \mathbb E\Big[\sum_t \nabla \log \pi(a_t \mid s_t)\, \big(G_t - b(s_t)\big)\Big], \qquad
# G_t = \sum_{k \ge t} \gamma^{k - t} r_k .$$
#
# `policy_gradient_loss` is $-\log \pi(a \mid s)\, A$ for one action and its advantage $A$. For a single state
# everything can be summed up: on average its gradient is that of $-\sum_a \pi(a) A(a)$, and a baseline $b$,
# which no action has an influence on, changes nothing but the variance.

# %%
logits, advantage = jnp.array([0.5, -0.2, 0.0]), jnp.array([10.0, 11.0, 12.0])
probs, actions = jax.nn.softmax(logits), jnp.arange(3)
gradient = jax.vmap(jax.grad(objectives.policy_gradient_loss), (None, 0, 0))  # [actions, logits]
print("by hand: ", jax.grad(lambda logits: -jax.nn.softmax(logits) @ advantage)(logits))
for b in (0.0, 11.0):
    g = gradient(logits, actions, advantage - b)
    mean = probs @ g
    variance = probs @ ((g - mean[None]) ** 2).sum(axis=1)
    print(f"b = {b:4}:", mean, f"variance {variance:.2f}")

# %% [markdown]
# ## REINFORCE
#
# Whole episodes, 16 for each gradient step. The baseline is a net that regresses the returns. In the picture
# are the returns of the episodes that it learns from, in which actions are drawn at random.

# %%
figure, axis = plt.subplots(figsize=(7, 3.2))
for baseline in (True,) if FAST else (False, True):
    reinforce, result = train("reinforce_cartpole", baseline=baseline)
    axis.plot(*curve(result, "train", "episode_return"), label=f"baseline: {'yes' if baseline else 'no'}")
axis.set(xlabel="gradient steps", ylabel="return", title="REINFORCE on CartPole")
axis.legend()
plt.show()

# %% [markdown]
# ## PPO
#
# An episode is a long time to wait, and to use it once is a waste. PPO (Schulman et al., 2017) takes 32 steps
# in each of 8 environments, and makes up for the missing rest by a net $V(s)$. `gae` mixes short and long
# looks ahead: $A_{t-1} = \delta_t + \gamma_t \lambda A_t$ with $\delta_t = r_t + \gamma_t v_t - v_{t-1}$.
# Then it takes 20 gradient steps on the same batch, on
#
# $$-\min\big(\rho A,\ \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, A\big), \qquad
# \rho = \frac{\pi(a \mid s)}{\pi_{\mathrm{old}}(a \mid s)},$$
#
# whose slope ends where the new policy has done enough for the action.

# %%
print(inspect.getsource(objectives.ppo_clip_loss).split('"""')[-1])

ratio = jnp.linspace(0.4, 1.6, 200)
figure, axis = plt.subplots(figsize=(5, 3))
for a in (1.0, -1.0):
    loss = jax.vmap(objectives.ppo_clip_loss, (0, None))(jnp.log(ratio), a)
    axis.plot(ratio, loss, label=f"$A = {a:+.0f}$")
axis.axvspan(0.8, 1.2, color="k", alpha=0.08)
axis.set(xlabel="$\\rho$", ylabel="loss", title="$\\epsilon = 0.2$")
axis.legend()
plt.show()

# %%
ppo, ppo_result = train("ppo_cartpole")
start = jax.jit(lambda key: ppo.learner.init(key, None))(jax.random.key(0))
show_episode(ppo, start, "before: until the pole falls")
show_episode(ppo, ppo_result.state, "after: 500 steps, if all went well")

# %% [markdown]
# ## DQN
#
# Q-learning with a net. For a transition $(s, a, r, s')$, drawn from a buffer of old ones, the net is moved
# along the error
#
# $$\delta = r + \gamma\, Q^-\big(s', \arg\max_{a'} Q(s', a')\big) - Q(s, a) .$$
#
# $Q^-$ is a copy of the net that lags behind. That $Q$ chooses the action, and $Q^-$ values it, is double
# Q-learning (van Hasselt, Guez & Silver, 2016): a maximum over noisy values is too high on average. Only
# $Q(s, a)$ is differentiated, and the Huber loss keeps large errors from pulling more than others.

# %%
print(inspect.getsource(objectives.double_q_learning_error).split('"""')[-1])

noise = jax.random.normal(jax.random.key(0), (2, 10_000, 5))  # of two estimates of five values that are 0
zero, first = jnp.zeros(()), jnp.array(0)
single = jax.vmap(lambda q: objectives.q_learning_error(jnp.zeros(5), first, zero, 1.0, q))(noise[0])
double = jax.vmap(
    lambda q, other: objectives.double_q_learning_error(jnp.zeros(5), first, zero, 1.0, other, q)
)(*noise)
print(f"all values are 0; the mean target is {single.mean():.3f} by one estimate, {double.mean():.3f} by two")

# %%
dqn, dqn_result = train("dqn_cartpole")
show_episode(dqn, dqn_result.state, "DQN")

# %% [markdown]
# ## What they know
#
# DQN's values of a pole that leans by some angle and falls at some speed, and the actions of both agents; the
# cart stands still in the middle. To stand for ever is worth $1/(1 - \gamma) = 100$ for $\gamma = 0.99$. The
# net promises more than that, and acts well all the same: only the order of the values counts.

# %%
angle, speed = jnp.meshgrid(jnp.linspace(-0.2, 0.2, 80), jnp.linspace(-2, 2, 80))
seen = jnp.stack([0 * angle, 0 * angle, angle, speed], axis=-1).reshape(-1, 4)
q = ActionValues(2, (16,) if FAST else (64, 64)).apply(dqn_result.state.params["q"], seen)  # [N, actions]
act, *_ = ppo.learner.export(ppo_result.state, None)["act"]
maps = {
    "DQN: largest $Q(s, a)$": q.max(axis=1),
    "DQN: action": q.argmax(axis=1),
    "PPO: action": jax.vmap(act)(seen),
}
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
for axis, (title, values) in zip(axes, maps.items(), strict=True):
    levels = 12 if "largest" in title else [-0.5, 0.5, 1.5]
    image = axis.contourf(angle, speed, values.reshape(80, 80), levels=levels, cmap="viridis")
    axis.set(title=title, xlabel="angle", ylabel="speed of the angle")
    figure.colorbar(image, ax=axis, ticks=None if "largest" in title else [0, 1])
plt.show()

# %% [markdown]
# ## How fast they learn
#
# The return of greedy episodes over the steps taken in the environment. One run is an anecdote: the config
# trains from one seed. `rl.learning_curves` trains many at once, and `rl.confidence_band` says what their
# mean is worth.

# %%
figure, axis = plt.subplots(figsize=(7, 3.2))
for name, result, env_steps in (("PPO", ppo_result, 8 * 32), ("DQN", dqn_result, 8 * 8)):
    steps, returns = curve(result, "validation", "return")
    axis.plot(jnp.array(steps) * env_steps, returns, "o-", label=name)
axis.set(xlabel="environment steps", ylabel="return, greedy", ylim=(0, 520))
axis.legend()
plt.show()

# %% [markdown]
# ## Yours
#
# * `train("ppo_cartpole", environment="Acrobot-v1", env_steps=200_000)` swings up a double pendulum.
# * `train("sac_pendulum")` has continuous actions, and learns how random it should be.
# * `train("dqn_cartpole", double=False)`, `dueling=True`, `prioritized=True`: which of them matters here?
# * An `rl.Environment` of your own is two functions and the spaces of what is seen and done.
