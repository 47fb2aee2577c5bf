"""The native backend with another instruction set than the best of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_jax.backends import ffi
from tests.helpers.against_scan import needs_native
from tests.helpers.toys import slow_case

pytestmark = needs_native

ROOT = Path(__file__).parents[2]

ON_ANOTHER_SET = """
import jax
import lstm_jax as lj
from lstm_jax.backends import ffi
from tests.helpers import against_scan

print(ffi.instruction_set())
mask = against_scan.flags((against_scan.T, 7), 0.7)
for dtype in ("float32", "float64"):
    with jax.enable_x64(dtype == "float64"):
        cell = lj.LSTM(33, 37, dtype=dtype)
        numbers = against_scan.draw(cell, batch=(7,))
        against_scan.agrees(cell, numbers, dtype, mask=mask, reverse=True)
"""


@pytest.mark.parametrize("name", [slow_case("avx2"), "baseline"])
def test_other_instruction_sets_agree_with_the_scan(name):
    if name == "avx2" and ffi.instruction_set() not in ("avx2", "avx512"):
        pytest.skip("this machine does not support AVX2")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_ANOTHER_SET],
        cwd=ROOT,
        env=os.environ | {"LSTM_JAX_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name]
