"""Generative adversarial network on a ring of eight Gaussians.

Paper: Goodfellow et al., Generative Adversarial Networks, 2014; the ring: Metz et al., 2017
Data: eight Gaussians on a circle, generated
Command: jaxdl train configs/gan_ring.py
Time: 30 s on 2 cores
Expected: 8 of 8 modes, >= 90 % of samples within 3 standard deviations of one
"""

from functools import partial

from flax import linen as nn

from jaxdl import metrics, optim
from jaxdl.data import Batches, eight_gaussians
from jaxdl.data.densities import RING_CENTERS, RING_STD
from jaxdl.learners import gan
from jaxdl.nets.mlp import MLP
from jaxdl.ops.pictures import scatter_picture
from jaxdl.train import Experiment, Options
from jaxdl.types import Array

TINY = {"hidden": (32,), "batch_size": 64, "steps": 64}


class Critic(nn.Module):
    """Map points [B, 2] to logits [B]."""

    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Return one logit for each point."""
        return MLP(1, self.hidden)(x, train=train)[:, 0]
