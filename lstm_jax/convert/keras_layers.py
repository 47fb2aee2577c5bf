"""Layers and models of Keras 3 as objects: their recurrent layers, and how these are set.

Their names and attributes are read, so that Keras need not be installed. What is the same in
inference is not read: dropout, regularizers, constraints, `stateful`, `unroll`, `implementation`.
`return_sequences` and `return_state` decide what is returned, and `zero_output_for_mask` what
masked steps show, which is `padding` of `lstm_jax.unroll`; a `Bidirectional` shows zeros there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_jax.bidirectional import Merge
from lstm_jax.cells.cell import Activation
from lstm_jax.convert.keras_activations import ACTIVATIONS
from lstm_jax.did_you_mean import did_you_mean

_LAYERS = ("LSTM", "GRU", "SimpleRNN", "RNN")
_CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
_MERGES: dict[str | None, Merge] = {
    "concat": "concat",
    "sum": "sum",
    "mul": "multiply",
    "ave": "mean",
    None: "none",
}
_SETTINGS = {  # of a cell in Keras, its default, and the field of our cells
    "activation": ("tanh", "activation"),
    "recurrent_activation": ("sigmoid", "gate_activation"),
}

WITHOUT_EFFECT = (
    "InputLayer",
    "Masking",
    "Dropout",
    "SpatialDropout1D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
)
"""Layers without weights that return their inputs in inference."""


class Direction(NamedTuple):
    """One direction of a layer.

    Attributes:
      weights: the arrays of its cell, as `get_weights` returns them.
      activations: those that are not the defaults, by the fields of our cells.
      reset_after: of a GRU; None if it is not known, or for another cell.
      changed: the settings that `cell_of` does not know, as a message names them.
    """

    weights: Sequence[Any]
    activations: Mapping[str, Activation] = {}
    reset_after: bool | None = None
    changed: tuple[str, ...] = ()


class RecurrentLayer(NamedTuple):
    """A recurrent layer.

    Attributes:
      directions: one, or forward and backward.
      name: the name of the layer, for messages.
      merge_mode: how two directions are merged, in the words of Keras.
    """

    directions: tuple[Direction, ...]
    name: str = ""
    merge_mode: str | None = "concat"

    @property
    def merge(self) -> Merge:
        """How two directions are merged, in our words."""
        return _MERGES[self.merge_mode]

    @property
    def changed(self) -> tuple[str, ...]:
        """The settings that `cell_of` does not know, as a message names them."""
        every = [name for each in self.directions for name in each.changed]
        every += [] if self.merge_mode == "concat" else [f"merge_mode={self.merge_mode!r}"]
        return tuple(dict.fromkeys(every))


def is_object(value: Any) -> bool:
    """Return whether a value is a layer or a model, not a list of weights.

    >>> is_object([1, 2])
    False
    """
    return hasattr(value, "get_weights")


def layers_of(function: str, theirs: Any) -> list[RecurrentLayer]:
    """Return the recurrent layers of a layer or a model.

    Args:
      function: the public function to name in errors.
      theirs: a layer, or a model whose layers form a chain, also with models in it.

    Returns:
      The recurrent layers from the input up; none for a layer such as `Dropout`.

    Raises:
      ValueError: when a layer is no recurrent layer of Keras, or is set in a way that no cell of
        ours computes; or when the layers of a model do not form a chain.
    """
    kind, name = type(theirs).__name__, _name(theirs)
    if kind in WITHOUT_EFFECT or (kind == "Activation" and _activation_name(theirs) == "linear"):
        return []
    if hasattr(theirs, "layers"):
        chain = _chain(function, theirs)
        return [found for layer in chain for found in layers_of(function, layer)]
    if kind == "Bidirectional":
        sides = theirs.forward_layer, theirs.backward_layer
        cells = [_cells(function, side) for side in sides]
        if any(len(each) > 1 for each in cells):
            raise ValueError(
                f"{function}: {name} is a Bidirectional of stacked cells, which merges only their"
                " last outputs: lstm_jax.bidirectional of two stacks computes the same"
            )
        _check_direction(function, theirs.forward_layer)
        directions = tuple(_direction(function, name, cell) for (cell,) in cells)
        return [RecurrentLayer(directions, name, theirs.merge_mode)]
    if kind in _LAYERS:
        _check_direction(function, theirs)
        cells = _cells(function, theirs)
        return [RecurrentLayer((_direction(function, name, cell),), name) for cell in cells]
    if kind in _CELLS:
        return [RecurrentLayer((_direction(function, name, theirs),), name)]
    raise ValueError(
        f"{function}: {name} is no LSTM, GRU, SimpleRNN, or Bidirectional of these: pass a list of"
        " the recurrent layers alone, or their get_weights()"
    )


def _name(layer: Any) -> str:
    """Return how messages call a layer."""
    return f"{getattr(layer, 'name', 'a layer')} of {type(layer).__name__}"


def _check_direction(function: str, layer: Any) -> None:
    if getattr(layer, "go_backwards", False):
        raise ValueError(
            f"{function}: {_name(layer)} has go_backwards=True, which no cell has: pass its"
            " get_weights(), and unroll with reverse=True, whose outputs stay in the order of time"
            " while those of Keras are reversed"
        )


def _cells(function: str, layer: Any) -> list[Any]:
    """Return the cells of a layer, from the input up."""
    if type(layer).__name__ not in _LAYERS:
        raise ValueError(
            f"{function}: both layers of a Bidirectional must be one of {', '.join(_LAYERS)}; got"
            f" {_name(layer)}"
        )
    cell = layer.cell
    cells = [*cell.cells] if type(cell).__name__ == "StackedRNNCells" else [cell]
    for each in cells:
        if type(each).__name__ not in _CELLS:
            raise ValueError(
                f"{function}: the cell of {_name(layer)} must be one of {', '.join(_CELLS)}, or"
                f" StackedRNNCells of these; got {type(each).__name__}"
            )
    return cells


def _direction(function: str, name: str, cell: Any) -> Direction:
    config, activations, changed = cell.get_config(), {}, []
    for setting, (default, field) in _SETTINGS.items():
        value = config.get(setting, default)
        if value == default:
            continue
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise ValueError(
                f"{function}: {setting} of {name} must be one of {', '.join(ACTIVATIONS)}; got"
                f" {value!r}{did_you_mean(str(value), ACTIVATIONS)}: pass its get_weights(), and"
                f" its function to cell_of as {field}"
            )
        activations[field] = ACTIVATIONS[value]
        changed.append(f"{setting}={value!r}")
    return Direction(cell.get_weights(), activations, config.get("reset_after"), tuple(changed))


def _activation_name(layer: Any) -> Any:
    return layer.get_config().get("activation")


def _chain(function: str, model: Any) -> list[Any]:
    """Return the layers of a model from the input up.

    A functional model is followed from its outputs down: every call of a layer must have one input,
    the first output of the layer below, and may have a mask.
    """
    if type(model).__name__ == "Sequential":
        return [*model.layers]
    if not getattr(model, "outputs", None):
        raise ValueError(_no_chain(function, model, "only Sequential and functional models tell"))
    tops = {id(tensor._keras_history.operation): tensor for tensor in model.outputs}
    if len(tops) != 1:
        raise ValueError(_no_chain(function, model, f"it has outputs of {len(tops)} layers"))
    (tensor,) = tops.values()
    chain = []
    while True:
        operation, index, _ = tensor._keras_history
        chain.append(operation)
        inputs = _inputs(operation._inbound_nodes[index])
        if not inputs:
            return chain[::-1]
        if len(inputs) > 1 or inputs[0]._keras_history.tensor_index:
            raise ValueError(
                _no_chain(function, model, f"{_name(operation)} reads more than one output")
            )
        (tensor,) = inputs


def _inputs(node: Any) -> list[Any]:
    """Return the tensors that a call reads, without the mask of a `Masking` below."""
    mask = node.arguments.kwargs.get("mask")
    masks = [id(each) for each in (mask if isinstance(mask, list | tuple) else [mask])]
    return [tensor for tensor in node.input_tensors if id(tensor) not in masks]


def _no_chain(function: str, model: Any, reason: str) -> str:
    return (
        f"{function}: the layers of {_name(model)} must form a chain, but {reason}: pass a list of"
        " the recurrent layers"
    )
