"""Settings for every test and doctest; made before JAX is imported, as it reads them then."""

import os
import shutil
import tempfile
from collections.abc import Iterator

# Two CPU devices let any machine test what is split over devices.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
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
