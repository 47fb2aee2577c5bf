"""Settings for every test and doctest; made before JAX is imported, as it reads them then."""

import os
from collections.abc import Iterator

# Two CPU devices let any machine test what is split over devices.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest
from hypothesis import settings

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
