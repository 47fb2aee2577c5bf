"""ONNX models: nodes `LSTM`, `GRU` and `RNN` read into cells, and cells written as models.

A node has more than weights: activations, peepholes, directions. So `to_cell` returns
the cell as well, and `from_params` takes it. Both need the extra ``lstm_jax[onnx]``.

Reference: ONNX, *Operators*: `LSTM`, `GRU` and `RNN`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lstm_jax.convert.file_errors import reading
from lstm_jax.convert.onnx_activations import OnnxActivation
from lstm_jax.convert.onnx_cells import Backward, OnnxLSTM
from lstm_jax.convert.onnx_graph import Graph, onnx_package
from lstm_jax.convert.onnx_model import ModelBuilder, check_params
from lstm_jax.convert.onnx_read import ReadNode, read_node
from lstm_jax.transforms import check_is_cell, input_size, output_size, stack
from lstm_jax.types import PyTree

__all__ = [
    "Backward",
    "OnnxActivation",
    "OnnxLSTM",
    "from_params",
    "to_cell",
    "to_params",
]

_FIRST_OPSET = 14


def to_cell(
    model: Any, node: str | Sequence[str] | None = None, *, inputs: Mapping[str, Any] | None = None
) -> tuple[Any, PyTree]:
    """Read recurrent nodes of an ONNX model as a cell and its parameters.

    ``lj.unroll(cell, params, xs)`` computes the outputs of the nodes. Inputs of `unroll` have time
    first, also for a node with ``layout=1``; both directions are concatenated. Initial states and
    lengths that are inputs of the model are passed to `unroll`; an initial state that the model
    contains is part of the parameters, as in `learned_initial_state`.

    Args:
      model: a path, the bytes of a file, a `ModelProto`, or a `NodeProto`.
      node: the name of a node, or a list of names from the input up, for a stack. A node without
        a name has that of its first output. If not given, all nodes are read, which must be one
        node or the layers of one stack.
      inputs: values of weights that the model has as inputs, by their names there.

    Returns:
      ``(cell, params)``: a cell for one node, a `stack` for several.

    Raises:
      ImportError: when onnx is not installed.
      TypeError: when `model` is none of these, or a weight is not of floating-point numbers.
      ValueError: when the model has no such node, the nodes are not layers of one stack, a weight
        is an input of the model, or an attribute or a shape is wrong. For a path or bytes, all that
        is wrong with the model is a ValueError, which names the file.
      OSError: when the file cannot be read.

    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.bidirectional(lj.GRU(3, 5)), lj.PeepholeLSTM(10, 4))
    >>> params = cell.init(jax.random.key(0))
    >>> model = from_params(params, cell)
    >>> to_cell(model)[0] == cell
    True
    >>> to_cell(model, "layers_1")[0]
    PeepholeLSTM(input_size=10, hidden_size=4)
    """
    function = "onnx.to_cell"
    return _read(function, model, node, inputs)


def to_params(
    model: Any, node: str | Sequence[str] | None = None, *, inputs: Mapping[str, Any] | None = None
) -> PyTree:
    """Read the parameters of recurrent nodes of an ONNX model, as `to_cell` does.

    Args:
      model, node, inputs: as in `to_cell`.

    Returns:
      The parameters: of one node those of its cell, of several a tuple.

    Raises:
      ImportError, TypeError, ValueError: as `to_cell`.

    >>> import jax
    >>> import lstm_jax as lj
    >>> model = from_params(lj.LSTM(3, 5).init(jax.random.key(0)))
    >>> jax.tree.map(jax.numpy.shape, to_params(model))
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    return _read("onnx.to_params", model, node, inputs)[1]


def _read(
    function: str, model: Any, node: str | Sequence[str] | None, inputs: Mapping[str, Any] | None
) -> tuple[Any, PyTree]:
    if isinstance(model, str | os.PathLike):
        with reading(function, model):
            return _read_graph(Graph(f"{function}: {os.fspath(model)}", model, inputs), node)
    if isinstance(model, bytes):
        with reading(function, "the bytes of a model"):
            return _read_graph(Graph(function, model, inputs), node)
    return _read_graph(Graph(function, model, inputs), node)


def _read_graph(graph: Graph, node: str | Sequence[str] | None) -> tuple[Any, PyTree]:
    several = not isinstance(node, str | None)
    names = [*graph.recurrent] if node is None else [*node] if several else [node]
    if not names:
        raise ValueError(f"{graph.function}: the model has no LSTM, GRU or RNN node")
    layers = [read_node(graph, name) for name in names]
    if len(layers) == 1 and not several:
        return layers[0].cell, layers[0].params
    cells = [_merged(graph, lower, upper) for lower, upper in pairwise(layers)]
    return stack(*cells, layers[-1].cell), tuple(layer.params for layer in layers)


def _merged(graph: Graph, lower: ReadNode, upper: ReadNode) -> Any:
    """The cell of a layer, which merges its directions as the layer above reads them."""
    if lower.lengths != upper.lengths or lower.batch_first != upper.batch_first:
        raise graph.not_a_stack(lower.node, upper.node)
    merge = graph.merge_between(
        lower.node, upper.node, lower.directions, lower.units, batch_first=lower.batch_first
    )
    return dataclasses.replace(lower.cell, merge=merge) if lower.directions == 2 else lower.cell


def from_params(
    params: PyTree,
    cell: Any = None,
    *,
    batch_first: bool = False,
    lengths: bool = False,
    initial_state: bool = False,
    opset: int = 14,
) -> Any:
    """Write a cell and its parameters as an ONNX model.

    The model computes ``lj.unroll(cell, params, xs, state, lengths=lengths)`` without random
    numbers. It has the inputs ``xs [time, batch, I]``, ``lengths [batch]`` in int32, and the
    initial state; and the outputs ``ys [time, batch, H]`` and the final state. A state ``(h, c)``
    is called ``initial_h``, ``initial_c``, ``final_h`` and ``final_c``, each ``[batch, H]``; states
    inside of a stack are called ``layers_0.initial_h``, and those of two directions
    ``forward.initial_h``, in the order of ``jax.tree.leaves``.

    Args:
      params: the parameters.
      cell: the cell of the parameters; `cell_of(params)` if not given. A cell with activations of
        its own, or a GRU that resets before the product, must be given.
      batch_first: whether ``xs`` and ``ys`` are ``[batch, time, ...]``. They are transposed then,
        as onnxruntime does not support nodes with ``layout=1``.
      lengths: whether the model has the input ``lengths``.
      initial_state: whether the model has the initial state as inputs; otherwise it starts from
        zeros, or from the learned state.
      opset: the version of the operators, 14 or above; 14 works in onnxruntime since 1.7.

    Returns:
      An ``onnx.ModelProto``.

    Raises:
      ImportError: when onnx is not installed.
      TypeError: when ONNX has no nodes for the cell, no such activation, or the parameters are of
        another dtype than float32 and float64.
      ValueError: when the parameters are not those of the cell, or this version of onnx has no
        such `opset`.

    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.GRU(3, 5)
    >>> model = from_params(cell.init(jax.random.key(0)), cell, lengths=True, initial_state=True)
    >>> [value.name for value in (*model.graph.input, *model.graph.output)]
    ['xs', 'lengths', 'initial_h', 'ys', 'final_h']
    """
    from lstm_jax.convert import cell_of  # the package imports this module

    function = "onnx.from_params"
    cell = cell_of(params) if cell is None else cell
    check_is_cell(function, cell)
    newest = onnx_package(function).defs.onnx_opset_version()
    if not _FIRST_OPSET <= opset <= newest:
        raise ValueError(f"{function}: opset must be from {_FIRST_OPSET} to {newest}; got {opset}")
    dtype = check_params(function, cell, params)
    builder = ModelBuilder(function, dtype, lengths=lengths, initial_state=initial_state)
    xs = builder.inputs(batch_first=batch_first)
    ys = builder.write(cell, params, xs)
    return builder.build(input_size(cell), ys, output_size(cell), opset, batch_first)
