"""Every test runs on eight forced CPU devices, with silent broadcasting turned into an error."""

import os
import tempfile

# Before jax is imported: the flags are read once, when the backend starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

# Workers and the processes that tests start share what they compile. The first conftest sets the folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxdl-tests-"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# Most of the time goes into compiling: as jax's own tests do, leave out what only makes long runs faster.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def fresh_draws(request):
    """What a test draws from its module's RNG does not depend on the tests that its worker ran before."""
    if hasattr(request.module, "RNG"):
        request.module.RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run what shares compiled steps or runs in one worker: all tests of a config, all of several hosts."""
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if file.endswith("test_configs.py"):
                return test.partition("[")[2] or test
            return file if file.endswith(("test_hosts.py", "test_agents.py")) else nodeid

    return Grouped(config, log)
