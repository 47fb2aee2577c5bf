"""An ONNX model as a graph: its recurrent nodes, its constants, and the paths between nodes."""

import importlib
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
# Operators whose results have the one value that all elements of their first input have.
_KEEP_VALUE = {
    *("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"),
    *("Split", "Slice", "Gather", "Expand", "Tile"),
}
_PROBE_STEPS, _PROBE_ROWS = 2, 3


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
    """

    def __init__(self, function: str, model: Any, inputs: Mapping[str, Any] | None = None) -> None:
        self.function = function
        self.onnx = onnx_package(function)
        self.reference = onnx_package(function, "onnx.reference")
        self.model = self._as_model(model)
        graph = self.model.graph
        self.nodes = [*graph.node]
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self._constants = {each.name: each for each in graph.initializer}
        self._constants |= {name: np.asarray(array) for name, array in (inputs or {}).items()}
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

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a tensor that depends on no input of the model; None for others."""
        if name in self._constants:
            value = self._constants[name]
            if value is not None and not isinstance(value, np.ndarray):
                value = self.onnx.numpy_helper.to_array(value)
        else:
            value = self._computed(name)
        self._constants[name] = value
        return value

    def _computed(self, name: str) -> np.ndarray | None:
        node = self.producers.get(name)
        random = node is not None and node.op_type.startswith(("Random", "Bernoulli"))
        if node is None or node.domain not in DOMAINS or random or self._has_graphs(node):
            return None
        feeds = {each: self.constant(each) for each in node.input if each}
        if any(value is None for value in feeds.values()):
            return None
        return self._evaluate([node], feeds, name)

    def _has_graphs(self, node: Any) -> bool:
        kinds = self.onnx.AttributeProto
        return any(each.type in (kinds.GRAPH, kinds.GRAPHS) for each in node.attribute)

    def common_value(self, name: str) -> float | None:
        """The value that all elements of a tensor have, whatever its shape; None where unknown."""
        value = self.constant(name)
        if value is not None:
            same = value.size and (value == value.flat[0]).all()
            return float(value.flat[0]) if same else None
        node = self.producers.get(name)
        if node is None:
            return None
        if node.op_type == "ConstantOfShape":
            filled = [self.onnx.numpy_helper.to_array(each.t) for each in node.attribute]
            return float(filled[0].flat[0]) if filled else 0.0
        if node.op_type == "Concat":
            values = {self.common_value(each) for each in node.input}
            return values.pop() if len(values) == 1 else None
        return self.common_value(node.input[0]) if node.op_type in _KEEP_VALUE else None

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
        """Run some nodes."""
        if not nodes:
            return feeds[output]
        helper = self.onnx.helper
        known = {each: self.constant(each) for node in nodes for each in node.input if each}
        feeds = {name: value for name, value in known.items() if value is not None} | {**feeds}
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in feeds.items()
        ]
        outputs = [self.onnx.ValueInfoProto(name=output)]
        graph = helper.make_graph([*nodes], "part", inputs, outputs)
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        (value,) = self.reference.ReferenceEvaluator(model).run([output], {**feeds})
        return np.asarray(value)

    def _fixed_sizes(self, node: Any, batch_first: bool) -> list[tuple[int, int]]:
        """The number of steps and rows of a node's outputs, where the model has fixed ones."""
        inferred = self.onnx.shape_inference.infer_shapes(self.model).graph
        for value in (*inferred.value_info, *inferred.output):
            if value.name == node.output[0]:
                sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
                steps, rows = (sizes[1], sizes[0]) if batch_first else (sizes[0], sizes[2])
                return [(steps or _PROBE_STEPS, rows or _PROBE_ROWS)]
        return []

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
