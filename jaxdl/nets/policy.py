"""Policies and values of reinforcement learning: small nets with orthogonal first weights.

See Engstrom et al. (2020), arXiv:2005.12729, for what the initialisation does.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import constant
from jax.custom_batching import sequential_vmap

from jaxdl.nets.layers import Dense
from jaxdl.ops.encoding import fourier_features
from jaxdl.types import Array, Key


def orthogonal(scale: float) -> Callable[..., Array]:
    """Draw a matrix with orthogonal rows or columns; under vmap one after the other.

    Batches of the QR decomposition behind it can block one another for ever on a CPU of few cores.
    """
    initializer = nn.initializers.orthogonal(scale)

    def init(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return sequential_vmap(lambda key: initializer(key, shape, dtype))(key)

    return init


class Torso(nn.Module):
    """Map a flattened observation through orthogonal dense layers, W_L σ(⋯ σ(W_1 x)).

    Attributes:
        features: width of the output.
        hidden: widths of the hidden layers.
        act: σ.
        scale: of the last layer's weights; the others have √2.
    """

    features: int
    hidden: tuple[int, ...]
    act: Callable[[Array], Array]
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, ...] to [B, features]."""
        x = x.reshape(len(x), -1)
        for width in self.hidden:
            x = self.act(Dense(width, kernel_init=orthogonal(math.sqrt(2)))(x))
        return Dense(self.features, kernel_init=orthogonal(self.scale), dtype=jnp.float32)(x)


class CategoricalPolicy(nn.Module):
    """Give the logits of each action.

    Attributes:
        num_actions: A.
        hidden: widths of the hidden layers.
        act: their activation.
    """

    num_actions: int
    hidden: tuple[int, ...] = (64, 64)
    act: Callable[[Array], Array] = nn.tanh

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Map [B, ...] to logits [B, A]."""
        return Torso(self.num_actions, self.hidden, self.act, scale=0.01)(observation)


class GaussianPolicy(nn.Module):
    """Give the mean of each action's dimension, and a standard deviation that is the same everywhere.

    Attributes:
        num_dims: D.
        hidden: widths of the hidden layers.
        act: their activation.
        log_std: log σ at first.
    """

    num_dims: int
    hidden: tuple[int, ...] = (64, 64)
    act: Callable[[Array], Array] = nn.tanh
    log_std: float = 0.0

    @nn.compact
    def __call__(self, observation: Array) -> tuple[Array, Array]:
        """Map [B, ...] to mean, log_std [B, D]."""
        mean = Torso(self.num_dims, self.hidden, self.act, scale=0.01)(observation)
        log_std = self.param("log_std", constant(self.log_std), (self.num_dims,))
        return mean, jnp.broadcast_to(log_std, mean.shape)


class StateValue(nn.Module):
    """Give the value of a state.

    Attributes:
        hidden: widths of the hidden layers.
        act: their activation.
    """

    hidden: tuple[int, ...] = (64, 64)
    act: Callable[[Array], Array] = nn.tanh

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Map [B, ...] to [B]."""
        return Torso(1, self.hidden, self.act)(observation)[:, 0]


class ActionValues(nn.Module):
    """Give the value of each action.

    Q(s, a) = V(s) + A(s, a) − mean A(s, ·) where dueling, see Wang et al. (2016), arXiv:1511.06581.

    Attributes:
        num_actions: A.
        hidden: widths of the hidden layers.
        act: their activation.
        dueling: whether value and advantages have last layers of their own.
        octaves: of `fourier_features` of the observation; they keep what is learned of one state from
            spilling over all others, so that states not seen yet stay attractive where rewards are negative.
            See Brellmann et al. (2023).
    """

    num_actions: int
    hidden: tuple[int, ...] = (128, 128)
    act: Callable[[Array], Array] = nn.relu
    dueling: bool = False
    octaves: int = 0

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Map [B, ...] to [B, A]."""
        observation = fourier_features(observation, self.octaves)
        if not self.dueling:
            return Torso(self.num_actions, self.hidden, self.act)(observation)
        both = Torso(1 + self.num_actions, self.hidden, self.act)(observation)
        value, advantage = both[:, :1], both[:, 1:]
        return value + advantage - advantage.mean(axis=-1, keepdims=True)


class ReturnDistribution(nn.Module):
    """Give the logits of each action's return over a fixed set of atoms.

    Attributes:
        num_actions: A.
        num_atoms: K.
        hidden: widths of the hidden layers.
        act: their activation.
    """

    num_actions: int
    num_atoms: int = 51
    hidden: tuple[int, ...] = (128, 128)
    act: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Map [B, ...] to [B, A, K]."""
        logits = Torso(self.num_actions * self.num_atoms, self.hidden, self.act)(observation)
        return logits.reshape(len(logits), self.num_actions, self.num_atoms)


class DeterministicPolicy(nn.Module):
    """Give an action, a = tanh(⋯).

    Attributes:
        num_dims: D.
        hidden: widths of the hidden layers.
        act: their activation.
    """

    num_dims: int
    hidden: tuple[int, ...] = (256, 256)
    act: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        """Map [B, ...] to [B, D] in (−1, 1)."""
        return jnp.tanh(Torso(self.num_dims, self.hidden, self.act, scale=0.01)(observation))


class StateDependentGaussianPolicy(nn.Module):
    """Give mean and standard deviation of each action's dimension, before it is squashed.

    Attributes:
        num_dims: D.
        hidden: widths of the hidden layers.
        act: their activation.
        bounds: between which log σ is kept.
    """

    num_dims: int
    hidden: tuple[int, ...] = (256, 256)
    act: Callable[[Array], Array] = nn.relu
    bounds: tuple[float, float] = (-20.0, 2.0)

    @nn.compact
    def __call__(self, observation: Array) -> tuple[Array, Array]:
        """Map [B, ...] to mean, log_std [B, D]."""
        both = Torso(2 * self.num_dims, self.hidden, self.act, scale=0.01)(observation)
        mean, log_std = jnp.split(both, 2, axis=-1)
        return mean, jnp.clip(log_std, *self.bounds)


class Critics(nn.Module):
    """Give K independent estimates of an action's value.

    Attributes:
        num: K.
        hidden: widths of the hidden layers.
        act: their activation.
    """

    num: int = 2
    hidden: tuple[int, ...] = (256, 256)
    act: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, observation: Array, action: Array) -> Array:
        """Map [B, ...] and [B, D] to [B, K]."""
        x = jnp.concatenate([observation.reshape(len(observation), -1), action], axis=-1)
        return jnp.concatenate([Torso(1, self.hidden, self.act)(x) for _ in range(self.num)], axis=-1)
