"""Learners: nets and objectives joined into train-state steps, one family per file."""

from jaxdl.learners.classification import classifier
from jaxdl.learners.flow import flow
from jaxdl.learners.gan import gan
from jaxdl.learners.language_model import language_model
from jaxdl.learners.latent import BERNOULLI, DISCRETIZED_LOGISTIC, GAUSSIAN, Likelihood
from jaxdl.learners.vae import vae

__all__ = [
    "BERNOULLI",
    "DISCRETIZED_LOGISTIC",
    "GAUSSIAN",
    "Likelihood",
    "classifier",
    "flow",
    "gan",
    "language_model",
    "vae",
]
