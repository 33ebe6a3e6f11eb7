"""jaxdl: deep-learning systems as pure nets, objectives and learners on JAX and Flax."""

__version__ = "0.1.0"
