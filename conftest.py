"""Settings for every test and doctest; made before JAX is imported, as it reads them then."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

FLAGS = "XLA_FLAGS"
# What they were before; a worker finds it set by the process that started it.
GIVEN = "XLA_FLAGS_GIVEN"
# Programs of tests are many and short: half of the time goes into making them fast. Whoever sets
# the first flag decides; the slow tests run what users run.
HURRIED = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
# Two CPU devices let any machine test what is split over devices.
DEVICES = "--xla_force_host_platform_device_count=2"


def with_flags(*flags: str) -> str:
    """The environment's flags of XLA, and these."""
    return " ".join([os.environ.get(FLAGS, ""), *flags]).strip()


def known(*flags: str) -> bool:
    """Whether this XLA has these flags; one that it does not know would end the process."""
    compiles = [sys.executable, "-c", "import jax; jax.jit(lambda: 0)()"]
    environment = os.environ | {FLAGS: with_flags(*flags)}
    return subprocess.run(compiles, env=environment, capture_output=True).returncode == 0


if GIVEN not in os.environ:
    os.environ[GIVEN] = os.environ.get(FLAGS, "")
    decided = HURRIED[0].partition("=")[0] in os.environ[GIVEN]
    os.environ[FLAGS] = with_flags(DEVICES, *HURRIED if not decided and known(*HURRIED) else ())
os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest
from hypothesis import settings

# Many tests compile the same programs, in processes of their own too: each once for a whole run.
CACHE = "JAX_COMPILATION_CACHE_DIR"
OWN_CACHE = None if CACHE in os.environ else tempfile.mkdtemp(prefix="compiled-")
if OWN_CACHE is not None:
    os.environ |= {CACHE: OWN_CACHE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    jax.config.update("jax_compilation_cache_dir", OWN_CACHE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# An implicit promotion in our code would undo someone's choice of dtype: let it be an error.
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compilation makes the first example slow, and a test that fails should fail for everyone.
settings.register_profile("lstm_jax", deadline=None, derandomize=True, database=None)
settings.load_profile("lstm_jax")


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for one test, so that a comparison can be exact to twelve digits."""
    with jax.enable_x64(True):
        yield


def pytest_unconfigure() -> None:
    """Whoever made the cache takes it away: with several workers, the process that started them."""
    if OWN_CACHE is not None:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)
