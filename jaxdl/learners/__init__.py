"""Learners: nets and objectives joined into train-state steps, one family per file."""

from jaxdl.learners.classification import classifier
from jaxdl.learners.gan import gan
from jaxdl.learners.language_model import language_model
from jaxdl.learners.vae import BERNOULLI, GAUSSIAN, Likelihood, vae

__all__ = ["BERNOULLI", "GAUSSIAN", "Likelihood", "classifier", "gan", "language_model", "vae"]
