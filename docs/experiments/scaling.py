"""What an update costs on many devices, on paper and as measured here.

``python -m docs.experiments.scaling`` prints the tables of scaling.md, with numbers of one's own by
flags such as ``--flops 200e12 --host_bytes 50e9``; ``--measure`` trains on one and two devices.
"""

import argparse
import dataclasses
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Network:
    """Layers of an LSTM, trained on sequences of ``steps``."""

    name: str
    inputs: int
    hidden: int
    layers: int
    steps: int

    @property
    def weights(self) -> int:
        """Weights of the layers: ``4 H (I + H + 1)`` for the first, ``4 H (2 H + 1)`` for others.

        >>> Network("adding", 2, 128, 1, 200).weights
        67072
        """
        first = 4 * self.hidden * (self.inputs + self.hidden + 1)
        return first + (self.layers - 1) * 4 * self.hidden * (2 * self.hidden + 1)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of a gradient, which are summed over the devices once an update."""
        return FLOAT * self.weights


@dataclass(frozen=True)
class Machine:
    """Devices and their links; the defaults are assumptions for GPUs such as an H200."""

    flops: float = 150e12
    """FLOP/s of the matrix products of a large step"""
    step_seconds: float = 10e-6
    """least time of a time step of one layer, however small: the launches of its kernels"""
    device_bytes: float = 400e9
    """bytes/s between devices of a host, in each direction"""
    host_bytes: float = 12.5e9
    """bytes/s of a host to others, in each direction: 100 Gbit/s"""
    device_latency: float = 5e-6
    """seconds of a message between devices of a host"""
    host_latency: float = 20e-6
    """seconds of a message between hosts"""
    per_host: int = 8
    """devices of a host"""


def compute_seconds(network: Network, machine: Machine, batch: float) -> float:
    """Time of forward and backward: ``3 T L max(2 B w / (L F), t_step)``.

    The backward pass does twice the products of the forward pass.

    Args:
      network: the network, with ``w`` weights in ``L`` layers.
      machine: the machine, with ``F`` FLOP/s.
      batch: sequences ``B`` of a device.
    """
    products = 2 * batch * network.weights / network.layers / machine.flops
    return 3 * network.steps * network.layers * max(products, machine.step_seconds)


def all_reduce_seconds(size: float, devices: int, machine: Machine) -> float:
    """Time to sum ``S`` bytes over ``D`` devices.

    Within a host of ``d`` devices: ``2 (d-1)/d S / b_device``. Between ``n`` hosts, of which every
    device has a part ``S/d``: ``2 (n-1)/n S / b_host``, as all parts go through the link of the
    host. Messages take ``2 log2`` times the latency.

    >>> all_reduce_seconds(1e9, 1, Machine())
    0.0
    """
    within = min(devices, machine.per_host)
    hosts = math.ceil(devices / machine.per_host)
    seconds = 2 * (within - 1) / within * size / machine.device_bytes
    seconds += 2 * math.log2(within) * machine.device_latency
    seconds += 2 * (hosts - 1) / hosts * size / machine.host_bytes
    return seconds + 2 * math.log2(hosts) * machine.host_latency


def efficiency(network: Network, machine: Machine, batch: float, devices: int) -> float:
    """The part of the time in which devices compute, each with its own batch of ``B`` sequences.

    Nothing overlaps: the gradient of a recurrent layer is complete after its first time step.
    """
    compute = compute_seconds(network, machine, batch)
    total = compute + all_reduce_seconds(network.gradient_bytes, devices, machine)
    return compute / total


def most_devices(network: Network, machine: Machine, batch: int) -> int:
    """The number of devices from which on more of them save less than a tenth, for a fixed batch.

    Args:
      network: the network.
      machine: the machine.
      batch: sequences of an update, of all devices together.
    """

    def seconds(devices: int) -> float:
        summed = all_reduce_seconds(network.gradient_bytes, devices, machine)
        return compute_seconds(network, machine, batch / devices) + summed

    devices = 1
    while devices * 2 <= batch and seconds(2 * devices) < 0.9 * seconds(devices):
        devices *= 2
    return devices


NETWORKS = (
    Network("adding", inputs=2, hidden=128, layers=1, steps=200),
    Network("medium", inputs=512, hidden=1024, layers=2, steps=200),
    Network("large", inputs=1024, hidden=4096, layers=4, steps=500),
)
BATCH = 64
COUNTS = {"2 GPUs": 2, "8 GPUs": 8, "16 GPUs": 16, "1,000 hosts": 8000}


def paper_tables(machine: Machine) -> str:
    """The tables of the page, in Markdown."""
    lines = [
        f"| LSTM | weights | bytes an update | compute, B = {BATCH} |"
        + "".join(f" {name} |" for name in COUNTS),
        "| --- |" + " ---: |" * (3 + len(COUNTS)),
    ]
    for network in NETWORKS:
        compute = compute_seconds(network, machine, BATCH)
        parts = [
            f"{network.name}: {network.layers} x {network.hidden}, T = {network.steps}",
            f"{network.weights / 1e6:,.2f} M",
            f"{network.gradient_bytes / 1e6:,.1f} MB",
            f"{1e3 * compute:,.1f} ms",
        ]
        for count in COUNTS.values():
            summed = all_reduce_seconds(network.gradient_bytes, count, machine)
            part = efficiency(network, machine, BATCH, count)
            parts.append(f"+{1e3 * summed:,.2f} ms, {part:.0%}")
        lines.append("| " + " | ".join(parts) + " |")
    lines += ["", "| LSTM | batch of all | devices at most |", "| --- | ---: | ---: |"]
    for network in NETWORKS:
        for batch in (64, 1024, 16384):
            lines.append(
                f"| {network.name} | {batch:,} | {most_devices(network, machine, batch):,} |"
            )
    return "\n".join(lines)


MEASURED = ("lstm", "gru")
TIMING = """
import sys, time
import jax
import numpy as np
from experiments.config.devices import DevicesConfig
from experiments.config.model import model_config
from experiments.config.schema import Config, TrainConfig
from experiments.devices.mesh import Placement
from experiments.tasks import Adding
from experiments.training.train_step import make_train_functions
cell, devices, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = Config(
    task=Adding(length=100),
    model=model_config(cell, hidden_size=128),
    train=TrainConfig(batch_size=batch),
    devices=DevicesConfig(data=devices),
)
functions = make_train_functions(config, placement=Placement.of(config))
states, seconds = functions.init(), []
for _ in range(6):
    began = time.process_time()
    states, _ = jax.block_until_ready(functions.train_steps((), states, np.ones(1, bool), 10))
    seconds.append((time.process_time() - began) / 10)
print(min(seconds[1:]))
"""


def measured_table(batch: int = 128) -> str:
    """Processor time of an update, of all threads together, on one and two CPU devices."""
    lines = ["| cell | 1 device, 1 core | 1 device, 2 cores | 2 devices, 1 core each |",
             "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for cell in MEASURED:
        found = [
            _timed(cell, devices, batch, cores)
            for devices, cores in ((1, "0"), (1, "0,1"), (2, "0,1"))
        ]
        lines.append(f"| {cell} | " + " | ".join(f"{1e3 * each:.0f} ms" for each in found) + " |")
    return "\n".join(lines)


def _timed(cell: str, devices: int, batch: int, cores: str) -> float:
    root = Path(__file__).parents[2]
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = ["taskset", "-c", cores, sys.executable, "-c", TIMING]
    result = subprocess.run(
        [*command, cell, str(devices), str(batch)],
        env=os.environ | flags | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for field in dataclasses.fields(Machine):
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
    parser.add_argument("--measure", action="store_true")
    values = vars(parser.parse_args())
    measure = values.pop("measure")
    print(measured_table() if measure else paper_tables(Machine(**values)))


if __name__ == "__main__":
    main()
