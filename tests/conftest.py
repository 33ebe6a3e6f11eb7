"""Every test runs on eight forced CPU devices, with silent broadcasting turned into an error."""

import os
import subprocess
import sys
import tempfile

# Before jax is imported: the flags are read once, when the backend starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Most of the time goes into compiling: as jax's own tests do, leave out what only makes long runs faster.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
FASTER = "--xla_cpu_use_fusion_emitters=false"  # compiles an operation in half the time
EIGHT = "--xla_force_host_platform_device_count=8"


def known(flag):
    """Tell whether this release has a flag: XLA ends a process that gives it another one."""
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    given = {**os.environ, "XLA_FLAGS": flag}
    return subprocess.run(start, env=given, capture_output=True, check=False).returncode == 0


if EIGHT not in os.environ.get("XLA_FLAGS", ""):  # in the first process; the others have it from there
    os.environ["XLA_FLAGS"] = " ".join(
        [os.environ.get("XLA_FLAGS", ""), EIGHT, *([FASTER] if known(FASTER) else [])]
    )

# Workers and the processes that tests start share what they compile. The first conftest sets the folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxdl-tests-"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax  # noqa: E402 (the flags come first)
import numpy as np  # noqa: E402
import pytest  # noqa: E402

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
