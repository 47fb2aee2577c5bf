"""The working memory of the native backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.against_scan import needs_native

pytestmark = needs_native

ROOT = Path(__file__).parents[2]

OF_MANY_NETWORKS = """
import jax
import lstm_jax as lj
from experiments.bench.timing import memory_growth

cell = lj.LSTM(16, 128)
params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (128, 4, 1, 16))
gradient = jax.grad(lambda p, x: lj.unroll(cell, p, x, implementation="cpu")[1].sum())
compiled = jax.jit(jax.vmap(gradient, (None, 0))).lower(params, xs).compile()
known = compiled.memory_analysis()
growth = memory_growth(lambda: jax.block_until_ready(compiled(params, xs)), 1)
print(growth - (known.output_size_in_bytes + known.temp_size_in_bytes) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak never falls")
def test_many_networks_use_the_memory_of_a_few():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OF_MANY_NETWORKS],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 128 / 4  # MiB; memory for each would be 100 and more
