"""An ONNX model as a graph: its recurrent nodes, its constants, and the paths between nodes."""

import functools
import importlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_jax.convert.onnx_nodes import DOMAINS, RECURRENT
from lstm_jax.did_you_mean import did_you_mean

# Operators that only move values, or merge two directions of a layer.
_LAYOUT = {
    *("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Dropout", "Cast"),
    *("Concat", "Split", "Slice", "Gather", "Shape", "Constant"),
    *("Add", "Mul", "Div", "Sum", "Mean", "ReduceSum", "ReduceMean", "ReduceProd"),
}
_PROBE_STEPS, _PROBE_ROWS = 2, 3

_MOST_ELEMENTS = 2**24
"""Elements of a computed tensor where the weights of the model have fewer."""
_KNOWN_ELEMENTS = 1024
"""Elements up to which a tensor may be the shape of another one, or another size."""
_SIZES_OF_VALUES = ("NonZero", "Unique", "Compress")
"""Operators whose outputs are as large as the values of their inputs say, which is not large."""


def onnx_package(function: str, module: str = "onnx") -> Any:
    """The package onnx, or a module of it.

    Args:
      function: the public function to name in errors.
      module: the module to import.

    Raises:
      ImportError: when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f"{function}: onnx is not installed; install lstm_jax[onnx]") from error


class Graph:
    """The main graph of an ONNX model.

    Args:
      function: the public function to name in errors.
      model: a path, the bytes of a file, a `ModelProto`, or a `NodeProto`.
      inputs: values of inputs that the model does not contain, by their names.

    Raises:
      ImportError: when onnx is not installed.
      TypeError: when `model` is none of these.
      ValueError: when no node reads one of `inputs`.
    """

    def __init__(self, function: str, model: Any, inputs: Mapping[str, Any] | None = None) -> None:
        self.function = function
        self.onnx = onnx_package(function)
        self.reference = onnx_package(function, "onnx.reference")
        self.model = self._as_model(model)
        graph = self.model.graph
        self.nodes = [*graph.node]
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self._constants: dict[str, Any] = {each.name: each for each in graph.initializer}
        self._constants |= {name: np.asarray(array) for name, array in (inputs or {}).items()}
        read = {name: None for node in self.nodes for name in node.input if name}
        for name in inputs or ():
            if name not in read:
                raise ValueError(
                    f"{function}: inputs must be read by a node of the model; got"
                    f" {name!r}{did_you_mean(name, read, quoted=True)}"
                )
        self._of_shapes: dict[str, Any] = {}
        self.recurrent: dict[str, Any] = {}
        for node in self.nodes:
            if node.op_type in RECURRENT and node.domain in DOMAINS:
                name = node.name or next(filter(None, node.output))
                self.recurrent[name if name not in self.recurrent else node.output[0]] = node

    def _as_model(self, model: Any) -> Any:
        onnx = self.onnx
        if isinstance(model, bytes):
            model = onnx.load_model_from_string(model)
        elif isinstance(model, str | os.PathLike):
            model = onnx.load(model)
        elif isinstance(model, onnx.NodeProto):
            model = onnx.helper.make_model(onnx.helper.make_graph([model], "node", [], []))
        if not isinstance(model, onnx.ModelProto):
            raise TypeError(
                f"{self.function}: model must be a path, bytes, a ModelProto or a NodeProto; got"
                f" {type(model).__name__}"
            )
        if model.functions:
            model = onnx_package(self.function, "onnx.inliner").inline_local_functions(model)
        return model

    def find(self, name: str) -> Any:
        """The recurrent node with a name.

        Raises:
          ValueError: when there is none.
        """
        if name not in self.recurrent:
            names = ", ".join(self.recurrent) or "none"
            raise ValueError(
                f"{self.function}: node must be an LSTM, GRU or RNN of the model, {names}; got"
                f" {name!r}{did_you_mean(name, self.recurrent, quoted=True)}"
            )
        return self.recurrent[name]

    def constant(self, name: str, *, of_shapes: bool = False) -> np.ndarray | None:
        """The value of a tensor that depends on no input of the model; None for others.

        Args:
          name: the name of the tensor.
          of_shapes: whether it may depend on the shapes of inputs. Axes of unknown size have the
            size 1 then.
        """
        known = self._of_shapes if of_shapes else self._constants
        if name not in known:
            given = self._constants.get(name)
            known[name] = self._computed(name, of_shapes) if given is None else given
        if known[name] is not None and not isinstance(known[name], np.ndarray):
            known[name] = self.onnx.numpy_helper.to_array(known[name])
        return known[name]

    def _computed(self, name: str, of_shapes: bool) -> np.ndarray | None:
        node = self.producers.get(name)
        random = node is not None and node.op_type.startswith(("Random", "Bernoulli"))
        if node is None or node.domain not in DOMAINS or random or self._has_graphs(node):
            return None
        feeds = {each: self.constant(each, of_shapes=of_shapes) for each in node.input if each}
        if of_shapes and node.op_type == "Shape" and node.input[0] in self._shapes:
            shape = self._shapes[node.input[0]]
            zero = np.zeros((), np.bool_)  # broadcast, as a shape may be of any size
            feeds = {node.input[0]: np.broadcast_to(zero, [size or 1 for size in shape])}
        if any(value is None for value in feeds.values()):
            return None
        try:
            return self._evaluate([node], feeds, name)
        except Exception:  # of any operator: sizes of 1 may not fit together
            if of_shapes:
                return None
            raise

    def _has_graphs(self, node: Any) -> bool:
        kinds = self.onnx.AttributeProto
        return any(each.type in (kinds.GRAPH, kinds.GRAPHS) for each in node.attribute)

    @functools.cached_property
    def _shapes(self) -> dict[str, list[int]]:
        """The shapes of tensors where their rank is known; an axis of unknown size has 0."""
        graph = self.onnx.shape_inference.infer_shapes(self.model).graph
        tensors = [
            (value.name, value.type.tensor_type)
            for value in (*graph.input, *graph.value_info, *graph.output)
        ]
        return {
            name: [axis.dim_value for axis in tensor.shape.dim]
            for name, tensor in tensors
            if tensor.HasField("shape")
        }

    def merge_between(
        self, lower: Any, upper: Any, directions: int, units: int, *, batch_first: bool
    ) -> str:
        """How the outputs of one recurrent node become the inputs of another.

        The nodes between them are run on numbers that are all different.

        Args:
          lower: the node whose output ``Y`` is read.
          upper: the node that reads it as ``X``.
          directions: the number of directions of `lower`.
          units: its hidden units.
          batch_first: whether both nodes have ``layout=1``.

        Returns:
          The `merge` of `bidirectional`; ``"concat"`` for a single direction.

        Raises:
          ValueError: when the inputs of `upper` are not those outputs.
        """
        nodes = self._between(lower.output[0], upper.input[0])
        if nodes is None:
            raise self.not_a_stack(lower, upper)
        sizes = [(_PROBE_STEPS, _PROBE_ROWS)]
        for steps, rows in sizes:
            shape = (rows, steps) if batch_first else (steps, rows)
            layout = (
                (*shape, directions, units) if batch_first else (steps, directions, rows, units)
            )
            if math.prod(layout) > self._most_elements:
                continue
            probe = np.random.default_rng(0).standard_normal(layout).astype(np.float32)
            try:
                given = self._evaluate(nodes, {lower.output[0]: probe}, upper.input[0])
            except Exception:  # of any operator: a model of fixed sizes reshapes to those
                sizes += self._fixed_sizes(lower, batch_first) if len(sizes) == 1 else []
                continue
            separate = probe if batch_first else np.moveaxis(probe, 1, 2)
            for merge, merged in _merges(separate).items():
                if given.shape == merged.shape and np.allclose(given, merged, atol=1e-6):
                    return merge
        raise self.not_a_stack(lower, upper)

    def _between(self, source: str, target: str) -> list[Any] | None:
        """The nodes that compute `target` from `source` and constants alone, or None."""
        needed, nodes = {target} - {source}, []
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.output):
                continue
            if node.op_type not in _LAYOUT or node.domain not in DOMAINS:
                return None
            needed -= {*node.output}
            needed |= {each for each in node.input if each and self.constant(each) is None}
            needed -= {source}
            nodes.insert(0, node)
        return None if needed else nodes

    def _evaluate(self, nodes: Sequence[Any], feeds: Mapping[str, Any], output: str) -> np.ndarray:
        """Run some nodes, one after the other."""
        values = {**feeds}
        for node in nodes:
            values |= self._run(node, values)
        return values[output]

    def _run(self, node: Any, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one node; its inputs are among the values or constants."""
        helper = self.onnx.helper
        feeds = {}
        for name in filter(None, node.input):
            value = values.get(name)
            value = self.constant(name) if value is None else value
            if value is not None:
                feeds[name] = value
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in feeds.items()
        ]
        names = [*filter(None, node.output)]
        outputs = [self.onnx.ValueInfoProto(name=name) for name in names]
        graph = helper.make_graph([node], "part", inputs, outputs)
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        self._check_sizes(model, feeds)
        results = self.reference.ReferenceEvaluator(model).run(None, feeds)
        return dict(zip(names, map(np.asarray, results), strict=True))

    def _check_sizes(self, model: Any, feeds: Mapping[str, np.ndarray]) -> None:
        """Check that a node makes no tensor far larger than all weights, as damaged shapes do."""
        sized = self.onnx.ModelProto()
        sized.CopyFrom(model)
        sized.graph.initializer.extend(
            self.onnx.numpy_helper.from_array(value, name)
            for name, value in feeds.items()
            if value.size <= _KNOWN_ELEMENTS
        )
        (node,) = model.graph.node
        for output in self.onnx.shape_inference.infer_shapes(sized, data_prop=True).graph.output:
            tensor = output.type.tensor_type
            shape = [axis.dim_value for axis in tensor.shape.dim if axis.HasField("dim_value")]
            known = tensor.HasField("shape") and len(shape) == len(tensor.shape.dim)
            if not known and node.op_type not in _SIZES_OF_VALUES:
                raise ValueError(f"{self.function}: the size of {output.name} is not known")
            if math.prod(shape) > self._most_elements:
                raise ValueError(f"{self.function}: {output.name} must not have the shape {shape}")

    @functools.cached_property
    def _most_elements(self) -> int:
        return max(_MOST_ELEMENTS, sum(each.ByteSize() for each in self.model.graph.initializer))

    def _fixed_sizes(self, node: Any, batch_first: bool) -> list[tuple[int, int]]:
        """The number of steps and rows of a node's outputs, where the model has fixed ones."""
        shape = self._shapes.get(node.output[0], ())
        if len(shape) != 4:
            return []
        steps, rows = (shape[1], shape[0]) if batch_first else (shape[0], shape[2])
        return [(steps or _PROBE_STEPS, rows or _PROBE_ROWS)]

    def not_a_stack(self, lower: Any, upper: Any) -> ValueError:
        """The error for two nodes of which one does not read the other."""
        names = {id(node): name for name, node in self.recurrent.items()}
        below, above = names[id(lower)], names[id(upper)]
        return ValueError(
            f"{self.function}: {above} does not read the outputs of {below} alone, so they are not"
            f" layers of one stack; name one node, or a list of layers: {', '.join(names.values())}"
        )


def _merges(separate: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs ``[..., D, H]`` merged in every way that `bidirectional` has."""
    concatenated = separate.reshape(*separate.shape[:-2], -1)
    if separate.shape[-2] == 1:
        return {"concat": concatenated}
    return {
        "concat": concatenated,
        "sum": separate.sum(axis=-2),
        "mean": separate.mean(axis=-2),
        "multiply": separate.prod(axis=-2),
    }
