"""Weights of Flax: recurrent cells and layers of linen and nnx, and models with them.

`flax_cells` describes the parameter trees of the cells. Conversion is exact in both directions.
"""

from typing import Any, Literal, get_args

from lstm_jax.bidirectional import Directions
from lstm_jax.cells import ConvLSTMParams
from lstm_jax.convert import families, flax_cells
from lstm_jax.convert.flax_conv import LINEN_CONV_LSTM
from lstm_jax.convert.flax_layer import RNNS, AnyFlaxCell, layer_nodes, layer_of
from lstm_jax.convert.flax_model import take_over
from lstm_jax.convert.flax_module import ModuleSettings, settings_of
from lstm_jax.convert.layer_params import (
    Layer,
    is_stack,
    join_layers,
    like_params,
    split_layers,
)
from lstm_jax.transforms import stack as stack_cells
from lstm_jax.types import LSTMState, PyTree

__all__ = ["from_carry", "from_params", "take_over", "to_carry", "to_cell", "to_params"]

Layout = Literal["linen", "nnx.LSTMCell", "nnx.OptimizedLSTMCell", "nnx.GRUCell", "nnx.SimpleCell"]
_LINEN = (
    flax_cells.LINEN_LSTM,
    flax_cells.LINEN_GRU,
    flax_cells.LINEN_SIMPLE,
    LINEN_CONV_LSTM,
)
_NNX = (
    flax_cells.NNX_LSTM,
    flax_cells.NNX_OPTIMIZED_LSTM,
    flax_cells.NNX_GRU,
    flax_cells.NNX_SIMPLE,
)
_SUPPORTED = (families.LSTM, families.GRU, families.TANH_RNN)


def to_params(theirs: Any) -> PyTree:
    """Convert parameters of Flax to ours.

    Args:
      theirs: the parameters of a cell, of an `RNN` or of a `Bidirectional`: linen's parameters or
        ``{"params": ...}``, an `nnx.State`, the dict of `nnx.to_pure_dict`, or the nnx module
        itself; or several layers, from the input up: a list, an `nnx.List`, `nnx.Dict` or
        `nnx.Sequential`, or the parameters of a linen `Sequential` of recurrent layers alone. Boxes
        such as `nn.Partitioned` are removed.

    Returns:
      `LSTMParams`, `GRUParams`, `TanhRNNParams` for a `SimpleCell`, or `ConvLSTMParams`;
      `Directions` of them for a `Bidirectional`, or the parameters of one cell if both directions
      share it; a tuple for several layers.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when the names or shapes are not those of a cell, the sizes of consecutive layers
        do not match, or a module has other activations, a `residual` connection, or another way
        to merge than `cell_of` assumes; `to_cell` converts it.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from flax import linen
    >>> variables = linen.RNN(linen.LSTMCell(5)).init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> jax.tree.map(jnp.shape, to_params(variables))
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    function = "flax.to_params"
    layers, settings, stack = _layers(function, theirs)
    for each in settings:
        if each.changed:
            raise ValueError(
                f"{function}: the module has {' and '.join(each.changed)}, which cell_of does not"
                " know: call to_cell, which returns the cell and its parameters"
            )
    return _join(function, layers, settings, stack=stack)


def to_cell(theirs: Any) -> tuple[Any, PyTree]:
    """Convert an nnx module to the cell that computes the same, and its parameters.

    Args:
      theirs: as for `to_params`. Trees have no activations: theirs are sigmoid and tanh.

    Returns:
      The cell, with the module's activations, its `residual` and its way to merge two directions;
      and its parameters, as `to_params` returns them.

    Raises:
      TypeError, ValueError: as `to_params`; or ValueError when there is no such cell.

    >>> import jax
    >>> from flax import nnx
    >>> theirs = nnx.RNN(nnx.GRUCell(3, 5, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0)))
    >>> to_cell(theirs)[0]
    GRU(input_size=3, hidden_size=5, activation=relu)
    """
    function = "flax.to_cell"
    layers, settings, stack = _layers(function, theirs)
    params = _join(function, layers, settings, stack=stack)
    cells = [each.cell(layer) for layer, each in zip(layers, settings, strict=True)]
    return stack_cells(cells) if stack else cells[0], params


def _layers(function: str, theirs: Any) -> tuple[list[Layer], list[ModuleSettings], bool]:
    """The parameters and the settings of all layers, and whether they are a stack."""
    nodes, stack = layer_nodes(function, theirs)
    layers = [layer_of(function, path, node) for path, node in nodes]
    return layers, [settings_of(function, node) for _, node in nodes], stack


def _join(
    function: str, layers: list[Layer], settings: list[ModuleSettings], *, stack: bool
) -> PyTree:
    joined = join_layers(function, layers, stack=stack, merges=[each.merge for each in settings])
    return tuple(map(_untied, joined)) if stack else _untied(joined)


def _untied(params: PyTree) -> PyTree:
    """Return the parameters of a layer; those of one cell if both directions share it."""
    tied = isinstance(params, Directions) and params.forward is params.backward
    return params.forward if tied else params


def from_params(params: PyTree, *, layout: Layout = "linen") -> Any:
    """Convert our parameters to those of Flax.

    Args:
      params: `LSTMParams`, `GRUParams`, `TanhRNNParams` or `ConvLSTMParams`, `Directions` of them,
        or a tuple of layers.
      layout: ``"linen"`` for the cells of linen, or the name of a cell of nnx.

    Returns:
      A nested dict: the parameters of the cell, which an `RNN` has under ``cell``, or those of the
      `Bidirectional` for `Directions`; a list of these for a tuple of layers.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when Flax has no such cell, or `layout` is that of another cell.

    >>> import jax
    >>> import lstm_jax as lj
    >>> theirs = from_params(lj.LSTM(3, 5).init(jax.random.key(0)))
    >>> list(theirs), theirs["hf"]["kernel"].shape
    (['ii', 'if', 'ig', 'io', 'hi', 'hf', 'hg', 'ho'], (5, 5))
    """
    function = "flax.from_params"
    layouts = get_args(Layout)
    if layout not in layouts:
        raise ValueError(f"{function}: layout must be one of {layouts}; got {layout!r}")
    theirs = []
    for layer in _split(function, params):
        cells = [_cell_of(function, each, layout).to_tree(function, each) for each in layer]
        if len(cells) == 1:
            theirs += cells
        else:
            pairs = zip(RNNS, cells, strict=True)
            theirs.append({name: {"cell": cell} for name, cell in pairs})
    return like_params(params, theirs)


def _split(function: str, params: PyTree) -> list[Layer]:
    """Split parameters into layers and directions, and check that Flax has such cells."""
    layers = params if is_stack(params) else [params]
    split = [tuple(layer) if isinstance(layer, Directions) else (layer,) for layer in layers]
    if any(isinstance(each, ConvLSTMParams) for layer in split for each in layer):
        return split
    return split_layers(function, params, supported=_SUPPORTED)


def _cell_of(function: str, params: Any, layout: str) -> AnyFlaxCell:
    """Return the cell of Flax for parameters of one direction."""
    for cell in _LINEN if layout == "linen" else _NNX:
        if isinstance(params, cell.params) and layout in ("linen", cell.name):
            return cell
    raise ValueError(f"{function}: layout {layout!r} has no cell for {type(params).__name__}")


def to_carry(theirs: tuple[Any, Any]) -> LSTMState:
    """Convert a carry of Flax, ``(c, h)``, to our state, ``(h, c)``.

    Args:
      theirs: ``(c, h)``, each ``[..., H]``.

    Returns:
      `LSTMState` ``(h, c)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> import jax.numpy as jnp
    >>> to_carry((jnp.zeros(5), jnp.ones(5))).h.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    c, h = _pair("flax.to_carry", "carry", "(c, h)", theirs)
    return LSTMState(h=h, c=c)


def from_carry(state: LSTMState | tuple[Any, Any]) -> tuple[Any, Any]:
    """Convert our state, ``(h, c)``, to a carry of Flax, ``(c, h)``.

    Args:
      state: ``(h, c)``, each ``[..., H]``.

    Returns:
      ``(c, h)``.

    Raises:
      TypeError: when it is not a tuple of two.

    >>> import jax.numpy as jnp
    >>> from_carry(LSTMState(h=jnp.zeros(2), c=jnp.ones(2)))[0].tolist()
    [1.0, 1.0]
    """
    h, c = _pair("flax.from_carry", "state", "(h, c)", state)
    return c, h


def _pair(function: str, argument: str, expected: str, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = type(pair).__name__
        raise TypeError(f"{function}: the {argument} must be a tuple {expected}; got {got}")
    return pair[0], pair[1]
