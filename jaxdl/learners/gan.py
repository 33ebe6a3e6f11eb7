"""Generative adversarial networks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl.data import Batches
from jaxdl.metrics import frechet_distance
from jaxdl.objectives import non_saturating_discriminator_loss, non_saturating_generator_loss
from jaxdl.ops.pictures import image_grid
from jaxdl.train import Options, Player, gradient_learner
from jaxdl.types import Array, Batch, Key, Learner, Metrics, Programs

# (critic, real, fake, key) -> scalar
Penalty = Callable[[Callable[[Array], Array], Array, Array, Key], Array]


def pixel_distance(samples: Array, data: Batches) -> dict[str, Array]:
    """Measure how far the means and covariances of the pixels of samples are from those of the data."""
    batches = [np.asarray(data.load(data.resident, item)["x"])[mask > 0] for item, mask in data.once()]
    real = jnp.asarray(np.concatenate(batches))
    return {"frechet": frechet_distance(samples.reshape(len(samples), -1), real.reshape(len(real), -1))}


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    latent_dim: int,
    generator_loss: Callable[[Array], Array] = non_saturating_generator_loss,
    discriminator_loss: Callable[[Array, Array], Array] = non_saturating_discriminator_loss,
    penalty: Penalty | None = None,
    generator_every: int = 1,
    draw: Callable[[Array], Array] = lambda samples: image_grid(samples[:64]),
    measure: Callable[[Array, Any], Mapping[str, Array]] | None = None,
    options: Options = Options(),
) -> Learner:
    """Train a generator against a discriminator: min_G max_D V(D, G), each by its own loss.

    See Goodfellow et al. (2014), arXiv:1406.2661.

    Args:
        generator: z [B, latent_dim] -> x [B, ...], called with `train`.
        discriminator: x [B, ...] -> logits [B], called with `train`.
        generator_optimizer: of the generator.
        discriminator_optimizer: of the discriminator.
        latent_dim: dimensions of z ~ N(0, I).
        generator_loss: of the logit of one generated example.
        discriminator_loss: of the logits of one data example and one generated example.
        penalty: (critic, real, fake, key) -> scalar, added to the discriminator's loss of each example.
        generator_every: discriminator steps to one generator step.
        draw: samples [1024, ...] -> picture.
        measure: (samples [10000, ...], test data) -> metrics of the samples.
        options: of the shared step.

    Returns:
        A Learner of batches {"x": [B, ...]} with players `discriminator` and `generator`. It exports
        sample: seed -> x.
    """

    def generate(params: Any, model_state: Any, z: Array, train: bool) -> tuple[Array, Any]:
        state = model_state["generator"]
        variables = {"params": params["generator"], **state}
        z = z.astype(optax.tree.dtype(params["generator"]))  # under mixed precision it computes in bfloat16
        return generator.apply(variables, z, train=train, mutable=list(state) if train else [])

    def judge(params: Any, state: Any, x: Array, train: bool) -> tuple[Array, Any]:
        variables = {"params": params["discriminator"], **state}
        x = x.astype(optax.tree.dtype(params["discriminator"]))
        return discriminator.apply(variables, x, train=train, mutable=list(state) if train else [])

    def latents(key: Key, num: int) -> Array:
        return jax.random.normal(key, (num, latent_dim))

    def init(key: Key, batch: Batch) -> tuple[Any, Any]:
        key_generator, key_discriminator, key_z = jax.random.split(key, 3)
        x, variables = generator.init_with_output(key_generator, latents(key_z, len(batch["x"])), train=False)
        if x.shape != batch["x"].shape:
            raise ValueError(f"the generator makes {x.shape[1:]}, but the data are {batch['x'].shape[1:]}")
        nets = {
            "generator": variables,
            "discriminator": discriminator.init(key_discriminator, x, train=False),
        }
        params = {name: net["params"] for name, net in nets.items()}
        return params, {name: {k: v for k, v in net.items() if k != "params"} for name, net in nets.items()}

    def discriminator_objective(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        key_z, key_penalty = jax.random.split(key)
        real = batch["x"]
        fake, _ = generate(params, model_state, latents(key_z, len(real)), train=True)
        real_logit, state = judge(params, model_state["discriminator"], real, train=True)
        fake_logit, state = judge(params, state or model_state["discriminator"], fake, train=True)
        loss = jax.vmap(discriminator_loss)(real_logit, fake_logit).mean()
        if penalty is not None:

            def critic(x: Array) -> Array:
                return judge(params, model_state["discriminator"], x[None], train=False)[0][0]

            keys = jax.random.split(key_penalty, len(real))
            loss += jax.vmap(partial(penalty, critic))(real.astype(fake.dtype), fake, keys).mean()
        metrics = {"real_logit": real_logit.mean(), "fake_logit": fake_logit.mean()}
        return loss, ({**model_state, "discriminator": state}, metrics)

    def generator_objective(
        params: Any, model_state: Any, batch: Batch, key: Key
    ) -> tuple[Array, tuple[Any, Metrics]]:
        fake, state = generate(params, model_state, latents(key, len(batch["x"])), train=True)
        logit, _ = judge(params, model_state["discriminator"], fake, train=True)
        return jax.vmap(generator_loss)(logit).mean(), ({**model_state, "generator": state}, {})

    def evaluate(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        real = batch["x"]
        fake, _ = generate(params, model_state, latents(key, len(real)), train=False)
        real_logit, _ = judge(params, model_state["discriminator"], real, train=False)
        fake_logit, _ = judge(params, model_state["discriminator"], fake, train=False)
        return {
            "discriminator_loss": jax.vmap(discriminator_loss)(real_logit, fake_logit),
            "generator_loss": jax.vmap(generator_loss)(fake_logit),
        }

    @partial(jax.jit, static_argnums=3)
    def sample(params: Any, model_state: Any, key: Key, num: int) -> Array:
        return generate(params, model_state, latents(key, num), train=False)[0]

    def export(params: Any, model_state: Any, batch: Batch) -> Programs:
        one = lambda seed: sample(params, model_state, jax.random.key(seed), 1)[0]
        return {"sample": (one, jnp.zeros(1, jnp.uint32))}

    def render(params: Any, model_state: Any, batch: Batch, key: Key) -> dict[str, Array]:
        return {"samples": draw(sample(params, model_state, key, 1024))}

    def report(params: Any, model_state: Any, data: Any) -> dict[str, float]:
        if measure is None:
            return {}
        samples = sample(params, model_state, jax.random.key(0), 10_000)
        return {name: float(value) for name, value in measure(samples, data).items()}

    players = {
        "discriminator": Player(discriminator_objective, discriminator_optimizer),
        "generator": Player(generator_objective, generator_optimizer, every=generator_every),
    }
    return gradient_learner(
        init, players, evaluate=evaluate, render=render, report=report, export=export, options=options
    )
