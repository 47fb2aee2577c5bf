"""The page of scaling says what its script computes, and the script computes what is right."""

import dataclasses
from pathlib import Path

import jax
import pytest

import lstm_jax as lj
from docs.experiments import scaling
from docs.experiments.scaling import FLOAT, Machine, Network

PAGE = Path(scaling.__file__).with_suffix(".md").read_text()
MACHINE = Machine(flops=1e12, step_seconds=1e-6, device_bytes=1e9, host_bytes=1e8,
                  device_latency=0.0, host_latency=0.0, per_host=4)  # fmt: skip
NETWORK = Network("large", inputs=3, hidden=512, layers=2, steps=10)


def test_the_page_has_the_tables_of_the_script():
    for table in scaling.paper_tables(Machine()).split("\n\n"):
        assert table in PAGE


def test_the_weights_are_those_of_the_layers():
    cell = lj.stack(lj.LSTM(3, 512), lj.LSTM(512, 512))
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    assert NETWORK.weights == sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert NETWORK.gradient_bytes == FLOAT * NETWORK.weights


def test_computing_is_limited_by_the_products_or_by_the_steps():
    assert scaling.compute_seconds(NETWORK, MACHINE, batch=100) == pytest.approx(
        3 * 10 * 2 * 100 * NETWORK.weights / 1e12
    )
    assert scaling.compute_seconds(NETWORK, MACHINE, batch=0.01) == pytest.approx(3 * 10 * 2 * 1e-6)


@pytest.mark.parametrize(
    ("devices", "seconds"),
    [(1, 0.0), (2, 1.0), (4, 1.5), (8, 1.5 + 10.0), (4000, 1.5 + 20 * 0.999)],
)
def test_a_sum_sends_twice_its_bytes_at_most_over_each_link(devices, seconds):
    assert scaling.all_reduce_seconds(1e9, devices, MACHINE) == pytest.approx(seconds)


def test_messages_are_counted():
    slow = dataclasses.replace(MACHINE, device_latency=1.0, host_latency=10.0)
    assert scaling.all_reduce_seconds(0, 16, slow) == pytest.approx(2 * 2 * 1.0 + 2 * 2 * 10.0)


def test_efficiency_falls_with_devices_and_more_of_them_stop_to_pay():
    parts = [scaling.efficiency(NETWORK, MACHINE, 64, n) for n in (1, 4, 8, 4000)]
    assert parts == sorted(parts, reverse=True)
    assert parts[0] == 1
    few, many = (scaling.most_devices(NETWORK, MACHINE, batch) for batch in (64, 2**22))
    assert few < many <= 2**22


@pytest.mark.slow
def test_the_measurement_runs():
    assert scaling.measured_table(batch=4).count(" ms |") == 3 * len(scaling.MEASURED)
