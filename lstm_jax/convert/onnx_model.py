"""A cell and its parameters as an ONNX model."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lstm_jax.bidirectional import Bidirectional
from lstm_jax.convert.onnx_cells import Backward
from lstm_jax.convert.onnx_graph import onnx_package
from lstm_jax.convert.onnx_nodes import INPUTS
from lstm_jax.convert.onnx_write import SINGLE, NodeWeights, joined, node_weights, share_a_node
from lstm_jax.transforms.dropout import CandidateDropout, Dropout, RecurrentDropout
from lstm_jax.transforms.learned_initial_state import LearnedInitialState
from lstm_jax.transforms.residual import Residual
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.stack import Stack
from lstm_jax.transforms.weight_drop import WeightDrop
from lstm_jax.types import Policy, PyTree

# Without a key they drop nothing, and have the parameters of their cell.
_DROPOUTS = (Dropout, RecurrentDropout, CandidateDropout, WeightDrop)
_DTYPES = ("float32", "float64")
_WRITABLE = (
    f"{', '.join(kind.__name__ for kind in SINGLE)}, and these in stack, bidirectional, residual,"
    " skip, learned_initial_state, dropout of any kind, or Backward"
)


class ModelBuilder:
    """Collects the nodes and weights of a model.

    Args:
      function: the public function to name in errors.
      dtype: dtype of all weights.
      lengths: whether the model has lengths.
      initial_state: whether the model has the initial state as inputs.

    Raises:
      ImportError: when onnx is not installed.
    """

    def __init__(
        self, function: str, dtype: np.dtype, *, lengths: bool, initial_state: bool
    ) -> None:
        self.function = function
        self.onnx = onnx_package(function)
        self.dtype = dtype
        self.lengths = "lengths" if lengths else ""
        self.initial_state = initial_state
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.states: list[tuple[str, int]] = []
        self.finals: list[tuple[str, int]] = []
        self.xs = "xs"

    def inputs(self, *, batch_first: bool) -> str:
        """The name of the inputs with time first."""
        if batch_first:
            self.xs = self.add("Transpose", "xs", perm=[1, 0, 2])
        return self.xs

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output; return the name of that."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant; return its name. Integers are those of shapes and axes."""
        array = np.asarray(value, np.int64 if np.asarray(value).dtype.kind == "i" else self.dtype)
        name = name or f"const_{'_'.join(map(str, array.ravel().tolist()))}_{array.ndim}"
        self.constants[name] = array
        return name

    def write(
        self,
        cell: Any,
        params: PyTree,
        xs: str,
        path: tuple[str, ...] = (),
        *,
        reverse: bool = False,
    ) -> str:
        """Add the nodes of a cell.

        Args:
          cell: the cell.
          params: its parameters.
          xs: the name of its inputs ``[T, B, I]``.
          path: where the cell is in the whole, as names.
          reverse: the direction of time.

        Returns:
          The name of its outputs ``[T, B, H]``.

        Raises:
          TypeError: when ONNX has no nodes for it.
        """
        if isinstance(cell, Stack):
            for k, (layer, its_params) in enumerate(zip(cell.cells, params, strict=True)):
                xs = self.write(layer, its_params, xs, (*path, f"layers_{k}"), reverse=reverse)
            return xs
        if isinstance(cell, Bidirectional):
            return self._bidirectional(cell, params, xs, path, reverse)
        if isinstance(cell, Residual):
            ys = self.write(cell.cell, params, xs, path, reverse=reverse)
            masked = self._zero_masked(xs)
            if cell.merge == "add":
                return self.add("Add", masked, ys)
            return self.add("Concat", masked, ys, axis=-1)
        if isinstance(cell, Backward):
            return self.write(cell.cell, params, xs, path, reverse=not reverse)
        if isinstance(cell, _DROPOUTS):
            return self.write(cell.cell, params, xs, path, reverse=reverse)
        weights, state = self._single(cell, params)
        direction = "reverse" if reverse else "forward"
        ys = self._node([weights], [state], xs, path, direction, [path])
        return self.add("Squeeze", ys, self.constant([1]))

    def _single(self, cell: Any, params: PyTree) -> tuple[NodeWeights, Any]:
        """The weights of a single cell, and its learned state or None."""
        state = None
        while isinstance(cell, (LearnedInitialState, *_DROPOUTS)):
            if isinstance(cell, LearnedInitialState):
                params, state = params
            cell = cell.cell
        if type(cell) not in SINGLE:
            raise TypeError(
                f"{self.function}: ONNX has nodes for {_WRITABLE}; got {type(cell).__name__}, in"
                f" {cell}"
            )
        if isinstance(cell.dtype, Policy) or cell.dtype != self.dtype:
            raise TypeError(
                f"{self.function}: cells must have one dtype, {' or '.join(_DTYPES)}; got {cell}"
            )
        return node_weights(self.function, cell, params), state

    def _bidirectional(
        self, cell: Bidirectional, params: PyTree, xs: str, path: tuple[str, ...], reverse: bool
    ) -> str:
        if cell.merge == "none":
            raise TypeError(f"{self.function}: merge must not be 'none'; got {cell}")
        paths = [(*path, name) for name in ("forward", "backward")]
        if not reverse and all(map(_is_single, cell.children())):
            pairs = zip(cell.children(), params, strict=True)
            weights, states = zip(*(self._single(*pair) for pair in pairs), strict=True)
            if share_a_node(*weights):
                ys = self._node(weights, states, xs, path, "bidirectional", paths)
                if cell.merge == "concat":
                    ys = self.add("Transpose", ys, perm=[0, 2, 1, 3])
                    return self.add("Reshape", ys, self.constant([0, 0, -1]))
                both = [self._take(ys, k, axis=1) for k in range(2)]
                return self._merged(cell.merge, both)
        both = [
            self.write(child, its_params, xs, its_path, reverse=reverse != bool(k))
            for k, (child, its_params, its_path) in enumerate(
                zip(cell.children(), params, paths, strict=True)
            )
        ]
        return self._merged(cell.merge, both)

    def _merged(self, merge: str, both: Sequence[str]) -> str:
        if merge == "concat":
            return self.add("Concat", *both, axis=-1)
        merged = self.add("Mul" if merge == "multiply" else "Add", *both)
        return self.add("Mul", merged, self.constant(0.5)) if merge == "mean" else merged

    def _node(
        self,
        directions: Sequence[NodeWeights],
        learned: Sequence[Any],
        xs: str,
        path: tuple[str, ...],
        direction: str,
        paths: Sequence[tuple[str, ...]],
    ) -> str:
        """Add a recurrent node, with its initial and final states; return its ``Y``."""
        kind, H = directions[0].kind, directions[0].attributes["hidden_size"]
        fields = "hc" if kind == "LSTM" else "h"
        name = ".".join(path) or kind.lower()
        arrays, attributes = joined(directions)
        inputs = {key: self.constant(array, f"{name}.{key}") for key, array in arrays.items()}
        inputs |= {"X": xs, "sequence_lens": self.lengths}
        if any(state is not None for state in learned):
            zeros = (np.zeros(H),) * len(fields)
            learned = [zeros if state is None else state for state in learned]
        initial = {field: [] for field in fields}
        for its_path, state in zip(paths, learned, strict=True):
            for k, field in enumerate(fields):
                own = None if state is None else state[k]
                value = self._initial(_joined(its_path, f"initial_{field}"), H, own)
                initial[field] += [value] if value else []
        for field, values in initial.items():
            if values:
                rows = [self.add("Unsqueeze", value, self.constant([0])) for value in values]
                inputs[f"initial_{field}"] = self.add("Concat", *rows, axis=0)
        names = [inputs.get(key, "") for key in INPUTS]
        while not names[-1]:
            names.pop()
        outputs = [f"{name}.Y", *(f"{name}.Y_{field}" for field in fields)]
        make = self.onnx.helper.make_node
        self.nodes.append(make(kind, names, outputs, name=name, direction=direction, **attributes))
        for d, its_path in enumerate(paths):
            for field, output in zip(fields, outputs[1:], strict=True):
                final = _joined(its_path, f"final_{field}")
                self.finals.append((final, H))
                if self.lengths and initial[field]:
                    # The node ends a row of length 0 with zeros, not with its initial state.
                    taken = self._take(output, d, axis=0)
                    self.add("Where", self._has_steps(), taken, initial[field][d], output=final)
                else:
                    self._take(output, d, axis=0, output=final)
        return outputs[0]

    def _initial(self, name: str, H: int, learned: Any) -> str:
        """The name of an initial state ``[B, H]``, or an empty string for zeros."""
        if self.initial_state:
            self.states.append((name, H))
            return name
        if learned is None:
            return ""
        shape = self.add("Shape", self.xs)
        shape = self.add("Concat", self._take(shape, [1], axis=0), self.constant([H]), axis=0)
        return self.add("Expand", self.constant(learned, name), shape)

    def _take(self, array: str, index: Any, *, axis: int, output: str = "") -> str:
        return self.add("Gather", array, self.constant(index), axis=axis, output=output)

    def _has_steps(self) -> str:
        """Whether rows have any step ``[B, 1]``."""
        longer = self.add("Greater", self._lengths(), self.constant(0))
        return self.add("Unsqueeze", longer, self.constant([1]))

    def _lengths(self) -> str:
        """The lengths in the dtype of other integers."""
        return self.add("Cast", self.lengths, to=self.onnx.TensorProto.INT64)

    def _zero_masked(self, xs: str) -> str:
        """The inputs ``[T, B, I]`` with zeros at masked steps."""
        if not self.lengths:
            return xs
        steps = self._take(self.add("Shape", xs), 0, axis=0)
        steps = self.add("Range", self.constant(0), steps, self.constant(1))
        steps = self.add("Unsqueeze", steps, self.constant([1]))
        valid = self.add("Less", steps, self._lengths())
        valid = self.add("Unsqueeze", valid, self.constant([2]))
        return self.add("Where", valid, xs, self.constant(0.0))

    def build(
        self,
        input_size: int | None,
        ys: str,
        output_size: int | None,
        opset: int,
        batch_first: bool,
    ) -> Any:
        """The model with all nodes that were added."""
        onnx, helper = self.onnx, self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        rows = ["batch", "time"] if batch_first else ["time", "batch"]
        value = helper.make_tensor_value_info
        inputs = [value("xs", kind, [*rows, input_size])]
        if self.lengths:
            inputs.append(value(self.lengths, onnx.TensorProto.INT32, ["batch"]))
        inputs += [value(name, kind, ["batch", H]) for name, H in self.states]
        outputs = [value("ys", kind, [*rows, output_size])]
        outputs += [value(name, kind, ["batch", H]) for name, H in self.finals]
        if batch_first:
            self.add("Transpose", ys, perm=[1, 0, 2], output="ys")
        else:
            self.add("Identity", ys, output="ys")
        weights = [onnx.numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "lstm_jax", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="lstm_jax",
            ir_version=helper.find_min_ir_version_for(opsets),
        )  # fmt: skip
        onnx.checker.check_model(model)
        return model


def check_params(function: str, cell: Any, params: PyTree) -> np.dtype:
    """Check that parameters are those of a cell, and return their dtype.

    Raises:
      TypeError: when dtypes differ or are not float32 or float64.
      ValueError: when structures or shapes differ.
    """
    expected = param_shapes(cell)
    given, wanted = (jax.tree.map(np.shape, tree) for tree in (params, expected))
    if jax.tree.structure(params) != jax.tree.structure(expected) or given != wanted:
        raise ValueError(f"{function}: params must be those of {cell}, {wanted}; got {given}")
    dtypes = {np.asarray(leaf).dtype.name for leaf in jax.tree.leaves(params)}
    if len(dtypes) != 1 or not dtypes <= {*_DTYPES}:
        raise TypeError(
            f"{function}: params must be of {' or '.join(_DTYPES)}; got {', '.join(sorted(dtypes))}"
        )
    return np.dtype(dtypes.pop())


def _is_single(cell: Any) -> bool:
    """Whether one direction of a node may compute a cell."""
    while isinstance(cell, (LearnedInitialState, *_DROPOUTS)):
        cell = cell.cell
    return type(cell) in SINGLE


def _joined(path: tuple[str, ...], name: str) -> str:
    return ".".join((*path, name))
