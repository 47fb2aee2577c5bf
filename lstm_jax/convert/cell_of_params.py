"""Cells for converted parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_jax.bidirectional import Merge, bidirectional, check_merge
from lstm_jax.cells.cell import Activation
from lstm_jax.convert.families import Params, required_family
from lstm_jax.convert.layer_params import Layer, is_stack, split_layers
from lstm_jax.transforms import stack
from lstm_jax.types import PyTree


def cell_of(
    params: PyTree,
    *,
    activation: Activation | None = None,
    gate_activation: Activation | None = None,
    merge: Merge | None = None,
) -> Any:
    """Return the cell for converted parameters.

    ``lj.unroll(cell_of(params), params, xs)`` computes the same as the layer of the other library,
    if that has the default activations, sigmoid and tanh, and concatenates both directions. Give
    the others here. Where they are not the same in all layers, `keras.to_cell` reads them from the
    layers, or construct the cells.

    Args:
      params: `LSTMParams`, `ProjectedLSTMParams`, `GRUParams` or `TanhRNNParams`, `Directions` of
        these, or a tuple of layers, as every `to_params` returns them. `GRUParams` without a
        ``recurrent_bias`` are those of a GRU that resets before the product.
      activation: activation of the candidate and the output, tanh by default.
      gate_activation: activation of the gates, sigmoid by default.
      merge: how bidirectional layers merge their outputs, as in `bidirectional`.

    Returns:
      `LSTM`, `ProjectedLSTM`, `GRU` or `TanhRNN`, a `bidirectional` of these, or a `stack`, with
      the parameters' dtype.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when their shapes do not match, or no layer has gates or two directions for
        `gate_activation` or `merge`.

    >>> import jax
    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.GRU(5, 4)).init(jax.random.key(0))
    >>> cell_of(params)
    Stack(cells=(LSTM(input_size=3, hidden_size=5), GRU(input_size=5, hidden_size=4)))
    """
    function = "cell_of"
    if merge is not None:
        check_merge(function, merge)
    layers = split_layers(function, params, merge=merge or "concat")
    single = [each for layer in layers for each in layer]
    if merge is not None and len(single) == len(layers):
        raise ValueError(f"{function}: merge={merge!r} needs a bidirectional layer; got none")
    if gate_activation is not None and not any(_has_gates(each) for each in single):
        raise ValueError(f"{function}: gate_activation needs a layer with gates; got simple RNNs")
    given = {"activation": activation, "gate_activation": gate_activation}
    settings = {name: value for name, value in given.items() if value is not None}
    cells = [layer_cell(layer, [settings] * len(layer), merge or "concat") for layer in layers]
    return stack(cells) if is_stack(params) else cells[0]


def layer_cell(layer: Layer, settings: Sequence[Mapping[str, Any]], merge: Merge) -> Any:
    """Return the cell of one layer.

    Args:
      layer: parameters of its directions.
      settings: fields of the cell of each direction; activations of gates are for cells that have
        gates.
      merge: how two directions merge their outputs.

    Returns:
      The cell.

    >>> import jax
    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> layer_cell((params, params), [{}, {}], "sum").merge
    'sum'
    """
    cells = []
    for params, own in zip(layer, settings, strict=True):
        family = required_family(params)
        sizes = family.sizes(params._asdict())
        own = {name: own[name] for name in own if _has_gates(params) or name != "gate_activation"}
        if "P" in sizes:
            own["projection_size"] = sizes["P"]
        cells.append(family.cell(sizes["I"], sizes["H"], dtype=params.kernel.dtype, **own))
    return bidirectional(*cells, merge=merge) if len(cells) == 2 else cells[0]


def _has_gates(params: Params) -> bool:
    return len(required_family(params).gates) > 1
