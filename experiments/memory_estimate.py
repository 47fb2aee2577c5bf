"""How much memory a training needs at least, before anything is allocated."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.layer_cell import layer_cell, output_features
from experiments.model import input_features, make_model
from experiments.tasks import Split
from experiments.training.optimizer import make_optimizer
from lstm_jax.types import PyTree

NEAR = 0.8
"""Share of the available memory from which on a warning is printed."""


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """The bytes that a training certainly needs; temporaries come on top of them.

    Attributes:
      parameters: parameters of all lanes, with their gradients.
      optimizer: the state of the optimizer of all lanes.
      activations: the states that are kept for the gradient, of all lanes.
      batches: inputs and targets of the largest batch, in training or in evaluation.
    """

    parameters: int
    optimizer: int
    activations: int
    batches: int

    @property
    def total(self) -> int:
        """All together."""
        return self.parameters + self.optimizer + self.activations + self.batches

    @property
    def largest(self) -> str:
        """The name of the largest part."""
        parts = dataclasses.asdict(self)
        return max(parts, key=parts.__getitem__)


LOWER = {
    "parameters": "model.hidden_size, model.layers or seeds",
    "optimizer": "model.hidden_size, model.layers or seeds",
    "activations": "train.batch_size, the length of the sequences, model.hidden_size or seeds, or"
    " set model.remat, which keeps fewer states",
    "batches": "eval.sequences, train.batch_size or the length of the sequences",
}
"""What to lower, by the largest part."""


def check_memory(config: Config, batches: Mapping[Split, PyTree], lanes: int | None = None) -> None:
    """Refuse a training that certainly does not fit; warn of one that may not.

    Args:
      config: the config.
      batches: the shapes of a batch of the training, and of all sequences of an evaluation; without
        the first, nothing is trained.
      lanes: number of models that train together; by default the seeds of the config.

    Raises:
      UserError: if there is less memory.
    """
    estimate = estimate_memory(config, batches, lanes)
    free = available_memory()
    if free is None or estimate.total < NEAR * free:
        return
    need = f"{readable(estimate.total)}, of which {estimate.largest} are"
    need += f" {readable(getattr(estimate, estimate.largest))}"
    lower = f"lower {LOWER[estimate.largest]}"
    if estimate.total > free:
        raise UserError(
            f"the training needs at least {need}; there are {readable(free)} of memory: {lower}"
        )
    print(
        f"the training needs at least {need}, of {readable(free)} of memory; if it does not"
        f" suffice, {lower}",
        file=sys.stderr,
    )


def estimate_memory(
    config: Config, batches: Mapping[Split, PyTree], lanes: int | None = None
) -> MemoryEstimate:
    """The memory that a training certainly needs.

    Args:
      config: the config.
      batches: the shapes of a batch of the training, and of all sequences of an evaluation; without
        the first, nothing is trained.
      lanes: number of models that train together; by default the seeds of the config.
    """
    lanes = config.seeds if lanes is None else lanes
    model = make_model(config.model, config.task)
    params = jax.eval_shape(model.init, jax.random.key(0))
    of_batches = [
        bytes_of(batch) * (lanes if split == "train" else 1) for split, batch in batches.items()
    ]
    if "train" not in batches:
        return MemoryEstimate(lanes * bytes_of(params), 0, 0, max(of_batches, default=0))
    optimizer = make_optimizer(config.optimizer, config.train.updates)
    state = jax.eval_shape(optimizer.init, params)
    T, B, *_ = batches["train"].inputs.shape
    return MemoryEstimate(
        parameters=2 * lanes * bytes_of(params),
        optimizer=lanes * bytes_of(state),
        activations=lanes * _activations(config, T, B),
        batches=max(of_batches),
    )


def _activations(config: Config, T: int, B: int) -> int:
    """Bytes of the states that a gradient keeps: of every step, or of every remat-th and one part.

    The outputs of a layer are the inputs of the next and are kept at every step.
    """
    inputs, total = input_features(config.task), 0
    chunk = config.model.remat
    kept = T if chunk is None else math.ceil(T / chunk) + min(chunk, T)
    for layer in config.model.layers:
        cell = layer_cell(layer, inputs)
        inputs = output_features(layer, inputs)
        state = _state_bytes(cell, B)
        features = inputs if isinstance(inputs, int) else math.prod(inputs)
        total += kept * state + T * B * features * 2
    return total


def _state_bytes(cell: object, B: int) -> int:
    """Bytes of a state of a batch; 0 where a cell has none that can be read without parameters."""
    initial_state: Callable[..., PyTree] | None = getattr(cell, "initial_state", None)
    if initial_state is None:
        return 0
    try:
        return bytes_of(jax.eval_shape(functools.partial(initial_state, (B,))))
    except TypeError:
        return 0


def bytes_of(shapes: PyTree) -> int:
    """The bytes of arrays, or of their shapes.

    >>> bytes_of({"a": jax.ShapeDtypeStruct((3, 2), jnp.float32), "b": None})
    24
    """
    return sum(
        math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(shapes)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def available_memory() -> int | None:
    """The bytes that all devices have, or the machines that compute; None if unknown.

    What is distributed over devices has to fit into all of them together.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
        known = [int(limit) for limit in limits if limit is not None]
        return sum(known) * jax.process_count() if len(known) == len(devices) else None
    found = [each for each in (_meminfo(), _cgroup()) if each is not None]
    return min(found) * jax.process_count() if found else None


def _meminfo() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
        line = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _cgroup() -> int | None:
    """What is left of the limit of a container."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        return max(limit - int((folder / "memory.current").read_text()), 0)
    except (OSError, ValueError):
        return None


def readable(number: float) -> str:
    """A number of bytes for people.

    >>> readable(2048), readable(5.5 * 2**30), readable(3 * 2**60)
    ('2 KiB', '5.5 GiB', '3,072 PiB')
    """
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = 0
    while number >= 1024 and power < len(units) - 1:
        number, power = number / 1024, power + 1
    return f"{number:,.3g} {units[power]}" if number < 1000 else f"{number:,.0f} {units[power]}"
