"""A sweep trains on the devices of its config."""

import jax
import numpy as np
import pytest

from experiments.run.workdir import Workdir
from experiments.sweep.run import run_sweep
from tests.helpers.sweeps import SWEEP, sweep


@pytest.mark.slow
@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
def test_two_devices_give_the_results_of_one(tmp_path):
    text = SWEEP.replace("[2, 3]", "[2]").replace("1.0e+30", "1.0e-1")
    results = {}
    for count in (1, 2):
        folder = tmp_path / f"{count}"
        folder.mkdir()
        fields = {"devices.data": count}
        for point in run_sweep(sweep(folder, text, **fields), folder / "out", figures=False):
            workdir = Workdir.existing(folder / "out" / "points" / point.name)
            results[count, point.name] = workdir.summary()["test"]["mse"]["seeds"]
            assert workdir.environment()["devices"] == count
    for (count, name), values in results.items():
        np.testing.assert_allclose(values, results[1, name], rtol=1e-4, err_msg=f"{count}, {name}")
    assert len(results) == 4
