"""Every test runs on eight forced CPU devices, with silent broadcasting turned into an error."""

import os

# Before jax is imported: the flags are read once, when the backend starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
