"""The mesh of the devices that train, and how a batch and the parameters are sharded over it.

It has two axes. Sequences of a batch are sharded over ``data``, and every device along it has the
same parameters: the compiler sums the gradients over it. Hidden units are sharded over ``hidden``.
One device is a mesh of one by one.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import lstm_jax as lj
from experiments.config.devices import DevicesConfig
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.model import Model, ModelParams
from experiments.run.state_files import is_key
from experiments.tasks.task import Batch
from lstm_jax.transforms.transform import draws
from lstm_jax.types import PRNGKey, PyTree

DATA, HIDDEN = "data", "hidden"


@dataclass(frozen=True)
class Placement:
    """The devices of a training, and what each of them has.

    Args:
      mesh: devices ``[data, hidden]``.

    >>> Placement.one().replicate({"a": np.arange(2)})
    {'a': Array([0, 1], dtype=int32)}
    """

    mesh: Mesh

    @classmethod
    def one(cls) -> "Placement":
        """The first device of this process."""
        return _placement(tuple(jax.local_devices()[:1]), 1)

    @classmethod
    def of(cls, config: Config) -> "Placement":
        """The devices for which a config asks.

        Raises:
          UserError: if there are not so many, or the config cannot be divided among them.
        """
        found = _found(config.devices, jax.devices(), jax.process_count())
        placement = _placement(tuple(found), config.devices.hidden)
        _check(config, placement)
        return placement

    @property
    def devices(self) -> list[Any]:
        """The devices, of all processes."""
        return list(self.mesh.devices.flat)

    @property
    def shape(self) -> dict[str, int]:
        """The number of devices along each axis."""
        return dict(self.mesh.shape)

    def shard_batch(self, batch: Batch) -> Batch:
        """Sequences over ``data``, inside of `jit`, so that each device draws its own part.

        A batch that cannot be divided evenly stays whole on every device.

        Args:
          batch: a batch, with the sequences on axis 1 of its arrays and on axis 0 of its lengths.
        """

        def sharded(array: jax.Array, axis: int) -> jax.Array:
            if array.ndim <= axis or array.shape[axis] % self.mesh.shape[DATA]:
                return array
            spec = PartitionSpec(*[None] * axis, DATA)
            return lax.with_sharding_constraint(array, NamedSharding(self.mesh, spec))

        return Batch(
            inputs=sharded(batch.inputs, 1),
            targets=jax.tree.map(lambda array: sharded(array, 1), batch.targets),
            lengths=None if batch.lengths is None else sharded(batch.lengths, 0),
        )

    def outputs(self, model: Model, params: ModelParams, batch: Batch, key: PRNGKey) -> jax.Array:
        """The outputs of a model in training, so that its gradient is summed once an update.

        In a scan over time, the compiler would sum the gradient over ``data`` at every step. With
        a copy of the parameters for every device along it, each has a gradient of its own until the
        end. Native code sums once by itself, and what a model draws for one part of a batch is not
        what it draws for the whole: these unroll the whole batch.

        Args:
          model: the model.
          params: its parameters.
          batch: a batch from `shard_batch`.
          key: the key of what the model draws.

        Returns:
          The outputs ``[T, B, O]``.
        """
        data, (steps, rows) = self.mesh.shape[DATA], batch.inputs.shape[:2]
        if data == 1 or rows % data or draws(model.cell) or _is_native(model, batch):
            return model.apply(params, batch.inputs, batch.lengths, key=key)

        def sharded(array: jax.Array) -> jax.Array:
            rest = [PartitionSpec.UNCONSTRAINED] * (array.ndim - 1)
            sharding = NamedSharding(self.mesh, PartitionSpec(DATA, *rest))
            return lax.with_sharding_constraint(array, sharding)

        copies = jax.tree.map(lambda p: sharded(jnp.broadcast_to(p, (data, *p.shape))), params)
        inputs, lengths = batch.inputs, batch.lengths
        inputs = sharded(
            jnp.moveaxis(inputs.reshape(steps, data, rows // data, *inputs.shape[2:]), 1, 0)
        )
        lengths = None if lengths is None else sharded(lengths.reshape(data, -1))
        outputs = jnp.moveaxis(jax.vmap(model.apply)(copies, inputs, lengths), 0, 1)
        return outputs.reshape(steps, rows, *outputs.shape[3:])

    def shardings(self, function: Callable[..., PyTree], *args: Any) -> PyTree:
        """The shardings of states: parameters, and what the optimizer keeps of each of them.

        Args:
          function: makes states, with a first axis of lanes.
          *args: its arguments; nothing is computed.

        Returns:
          A `NamedSharding` for every array, or one for all.
        """
        hidden = self.mesh.shape[HIDDEN]
        if hidden == 1:
            return self.replicated
        return jax.tree.map_with_path(
            lambda path, leaf: NamedSharding(self.mesh, _spec(path, leaf.shape, hidden)),
            jax.eval_shape(function, *args),
        )

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of an array that every device has whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    def replicate(self, tree: PyTree) -> PyTree:
        """Arrays of the host, equal in every process, on every device."""

        def on_all(leaf: Any) -> jax.Array:
            if isinstance(leaf, jax.Array) and jax.process_count() == 1:
                return jax.device_put(leaf, self.replicated)
            array = np.asarray(leaf)
            return jax.make_array_from_callback(
                array.shape, self.replicated, lambda index: array[index]
            )

        return jax.tree.map(on_all, tree)

    def to_host(self, tree: PyTree) -> PyTree:
        """The whole arrays in every process; all processes call this together.

        Random keys stay on the devices, as NumPy has none.
        """
        whole = jax.jit(lambda tree: tree, out_shardings=self.replicated)(tree)
        return jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), whole)

    def model(self, model: Model) -> Model:
        """The model with the backend that runs on these devices.

        Native code needs whole kernels: where hidden units are sharded, the scan runs.
        """
        if self.mesh.shape[HIDDEN] == 1 or model.implementation is not None:
            return model
        return dataclasses.replace(model, implementation="scan")

    def unused(self) -> str | None:
        """A line about devices that do not train, or None; those of a CPU are simulated ones.

        >>> Placement.one().unused() is None or jax.default_backend() != "cpu"
        True
        """
        used, there = len(self.devices), jax.device_count()
        if used == there or self.devices[0].platform == "cpu":
            return None
        return f"training on {used} of {there} devices; --devices.data all trains on all of them"


@functools.cache
def _placement(devices: tuple[Any, ...], hidden: int) -> Placement:
    shape = (len(devices) // hidden, hidden)
    mesh = jax.make_mesh(shape, (DATA, HIDDEN), (AxisType.Auto,) * 2, devices=devices)
    return Placement(mesh)


def _found(config: DevicesConfig, devices: Sequence[Any], processes: int) -> list[Any]:
    """The devices of a mesh, as many of every process."""
    hidden, there = config.hidden, len(devices)
    if config.data == "all":
        if there % hidden:
            raise UserError(
                f"devices.hidden: must divide the number of devices, {there}; got {hidden}"
            )
        return list(devices)
    data = processes if config.data is None else config.data
    wanted = data * hidden
    if wanted > there:
        raise UserError(
            f"devices: {data} x {hidden} are {wanted} devices, and there are {_text(devices)}"
        )
    if wanted % processes:
        raise UserError(
            f"devices.data: each of the {processes} processes must have as many devices; got"
            f" {data} x {hidden}"
        )
    each = wanted // processes
    of_process = [[d for d in devices if d.process_index == p] for p in range(processes)]
    if any(len(own) < each for own in of_process):
        raise UserError(
            f"devices: {wanted} devices are {each} in each of {processes} processes, and one has"
            f" {min(map(len, of_process))}"
        )
    return [device for own in of_process for device in own[:each]]


def _text(devices: Sequence[Any]) -> str:
    return f"{len(devices)} ({devices[0].device_kind})"


def _check(config: Config, placement: Placement) -> None:
    """Raise if a batch or a layer cannot be divided evenly."""
    data, hidden = placement.shape[DATA], placement.shape[HIDDEN]
    if config.train.batch_size % data:
        raise UserError(
            f"train.batch_size: must be a multiple of the {data} devices of devices.data; got"
            f" {config.train.batch_size}"
        )
    for layer in config.model.layers:
        units = getattr(layer, "hidden_size", None)
        if isinstance(units, int) and units % hidden:
            raise UserError(
                f"model.hidden_size: must be a multiple of devices.hidden, {hidden}; got {units}"
            )


def _is_native(model: Model, batch: Batch) -> bool:
    """Whether native code, rather than the scan or another program of JAX, unrolls the model."""
    xs = jax.eval_shape(model.encode, batch.inputs)
    options = {"implementation": model.implementation, "remat": model.remat}
    found = lj.explain(model.cell, xs, lengths=batch.lengths, **options).implementations
    return not {"cpu", "cudnn"}.isdisjoint(found)


def _spec(path: Any, shape: tuple[int, ...], hidden: int) -> PartitionSpec:
    """How an array ``[N, ...]`` of a state is sharded.

    Kernels and biases of the cells have hidden units, or the gates of all, on their last axis; the
    readout has them on its first one. By columns a step gathers ``B * H`` numbers where it would
    sum ``4 * B * H`` by rows.
    """
    names = jax.tree_util.keystr(path)
    whole = PartitionSpec()
    # The metrics of the most recent batches are numbers of no unit.
    if len(shape) < 2 or "window" in names:
        return whole
    if "readout" in names:
        rows = len(shape) == 3 and shape[1] % hidden == 0
        return PartitionSpec(None, HIDDEN) if rows else whole
    if shape[-1] % hidden:
        return whole
    return PartitionSpec(*[None] * (len(shape) - 1), HIDDEN)
