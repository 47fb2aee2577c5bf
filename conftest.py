"""Settings for every test and doctest, made before JAX is imported, which reads them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator

FLAGS = "XLA_FLAGS"
# The flags as they were given; a worker inherits them from the process that started it.
GIVEN = "XLA_FLAGS_GIVEN"
# Tests run many short programs: half of the time goes into optimising them. A given first flag has
# precedence; the slow tests compile as users do.
FAST_COMPILE = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
# Two CPU devices, so that sharding is tested on any machine.
DEVICES = "--xla_force_host_platform_device_count=2"


def with_flags(*flags: str) -> str:
    """The XLA flags of the environment, and these."""
    return " ".join([os.environ.get(FLAGS, ""), *flags]).strip()


def known(*flags: str) -> bool:
    """Whether XLA supports these flags; an unknown one would end the process."""
    compiles = [sys.executable, "-c", "import jax; jax.jit(lambda: 0)()"]
    environment = os.environ | {FLAGS: with_flags(*flags)}
    return subprocess.run(compiles, env=environment, capture_output=True).returncode == 0


if GIVEN not in os.environ:
    os.environ[GIVEN] = os.environ.get(FLAGS, "")
    decided = FAST_COMPILE[0].partition("=")[0] in os.environ[GIVEN]
    fast = FAST_COMPILE if not decided and known(*FAST_COMPILE) else ()
    os.environ[FLAGS] = with_flags(DEVICES, *fast)
os.environ["MPLBACKEND"] = "Agg"

# The background of a shell ignores Ctrl-C, and nohup a hang-up, in all that is started there: tests
# send both.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)

import jax
import pytest
from hypothesis import settings

# Many tests compile the same programs, also in other processes: compile each once for all tests.
CACHE = "JAX_COMPILATION_CACHE_DIR"
OWN_CACHE = None if CACHE in os.environ else tempfile.mkdtemp(prefix="compiled-")
if OWN_CACHE is not None:
    os.environ |= {CACHE: OWN_CACHE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    jax.config.update("jax_compilation_cache_dir", OWN_CACHE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# An implicit promotion in the library would undo a user's choice of dtype: make it an error.
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Users may forbid implicit promotion of ranks, as Equinox's tests do: the library must not use it.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compilation makes the first example slow, and a failure must be the same for everyone.
settings.register_profile("lstm_jax", deadline=None, derandomize=True, database=None)
settings.load_profile("lstm_jax")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let other libraries promote ranks where a test runs them."""
    if item.get_closest_marker("peers") is None:
        return (yield)
    with jax.numpy_rank_promotion("allow"):
        return (yield)


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for one test, for comparisons to twelve digits."""
    with jax.enable_x64(True):
        yield


def pytest_unconfigure() -> None:
    """Delete the cache in the process that made it, not in its workers."""
    if OWN_CACHE is not None:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)
