"""Our parameters as layers on top of each other, of one direction or two.

Every library says in its own way which weights belong to which layer and direction. Here they are a
list of layers from the input up, each a tuple of the parameters of its directions.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import Directions, bidirectional
from lstm_jax.cells import LSTM, ProjectedLSTM, ProjectedLSTMParams
from lstm_jax.convert.arrays import check_shape, size
from lstm_jax.transforms import stack
from lstm_jax.types import LSTMParams, PyTree

Params = LSTMParams | ProjectedLSTMParams
"""Parameters of one layer in one direction."""

Layer = tuple[Params, ...]
"""Parameters of one layer: one direction, or forward and backward."""


def cell_of(params: PyTree) -> Any:
    """The cell that converted parameters belong to.

    ``lj.unroll(cell_of(params), params, xs)`` is the layer that they come from, where that has the
    usual activations, sigmoid and tanh, and shows both directions side by side.

    Args:
      params: `LSTMParams`, `ProjectedLSTMParams`, `Directions` of these, or a tuple of layers, as
        `to_params` of every library gives them.

    Returns:
      `LSTM`, `ProjectedLSTM`, a `bidirectional` of these, or a `stack`, with the parameters' dtype.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when their shapes do not fit together.

    >>> import lstm_jax as lj
    >>> params = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4)).init(jax.random.key(0))
    >>> cell_of(params)
    Stack(cells=(LSTM(input_size=3, hidden_size=5), LSTM(input_size=5, hidden_size=4)))
    """
    cells = [_cell(layer) for layer in layers_of("cell_of", params)]
    return stack(cells) if is_stack(params) else cells[0]


def _cell(layer: Layer) -> Any:
    cells = []
    for params in layer:
        inputs, dtype = params.kernel.shape[0], params.kernel.dtype
        if isinstance(params, ProjectedLSTMParams):
            H, P = params.projection.shape
            cells.append(ProjectedLSTM(inputs, H, projection_size=P, dtype=dtype))
        else:
            cells.append(LSTM(inputs, params.recurrent_kernel.shape[0], dtype=dtype))
    return bidirectional(*cells) if len(cells) == 2 else cells[0]


def one_direction(arrays: Mapping[str, Any]) -> Params:
    """Parameters of one layer in one direction, from arrays whose shapes have been checked.

    They are copies: what happens to the other library's arrays afterwards does not reach them.

    Args:
      arrays: ``kernel [I, 4H]`` and ``recurrent_kernel``; zeros stand for ``bias [4H]`` where there
        is none; ``projection [H, P]`` where there is one.

    Returns:
      `LSTMParams`, or `ProjectedLSTMParams` with a projection. Float64 stays so only where JAX has
      it enabled.

    >>> one_direction({"kernel": jnp.ones((3, 8)), "recurrent_kernel": jnp.ones((2, 8))}).bias.shape
    (8,)
    """
    ours = {name: jnp.array(array) for name, array in arrays.items()}
    if "bias" not in ours:
        ours["bias"] = jnp.zeros(ours["kernel"].shape[-1:], ours["kernel"].dtype)
    return (ProjectedLSTMParams if "projection" in ours else LSTMParams)(**ours)


def assembled(function: str, layers: Sequence[Layer], *, stack: bool) -> PyTree:
    """Layers as the parameters of their cell.

    Args:
      function: the public function to name in errors.
      layers: from the input up.
      stack: whether they are those of `stack`, a tuple, even when there is but one.

    Returns:
      `Directions` where there are two of them; a tuple of layers for a stack.

    Raises:
      ValueError: when there is no layer, or one does not read what the one below it shows.

    >>> import lstm_jax as lj
    >>> params = lj.LSTM(3, 5).init(jax.random.key(0))
    >>> assembled("keras.to_params", [(params,), (params,)], stack=True)
    Traceback (most recent call last):
    ValueError: keras.to_params: layer 2 must read the 5 features that layer 1 shows; it reads 3
    """
    if not layers:
        raise ValueError(f"{function}: at least one layer is needed; got none")
    for layer in layers:
        reads = [params.kernel.shape[0] for params in layer]
        if len({*reads}) > 1:
            raise ValueError(
                f"{function}: both directions must read the same inputs; got features {reads}"
            )
    for k, (below, above) in enumerate(pairwise(layers), start=2):
        shown = sum(params.recurrent_kernel.shape[0] for params in below)
        if shown != (read := above[0].kernel.shape[0]):
            raise ValueError(
                f"{function}: layer {k} must read the {shown} features that layer {k - 1} shows;"
                f" it reads {read}"
            )
    each = tuple(Directions(*layer) if len(layer) == 2 else layer[0] for layer in layers)
    return each if stack else each[0]


def is_stack(params: PyTree) -> bool:
    """Whether parameters are a tuple of layers, not one layer's NamedTuple.

    >>> is_stack(LSTMParams(1, 2, 3)), is_stack((LSTMParams(1, 2, 3),))
    (False, True)
    """
    return isinstance(params, tuple | list) and not hasattr(params, "_fields")


def layers_of(
    function: str,
    params: PyTree,
    *,
    projection: bool = True,
    directions: bool = True,
    uniform: bool = False,
    bias: bool = True,
) -> list[Layer]:
    """Our parameters as layers from the input up, once another library can hold them.

    Args:
      function: the public function to name in errors.
      params: as for `cell_of`.
      projection: whether there may be one.
      directions: whether there may be two of them.
      uniform: whether all layers must have as many directions and units.
      bias: whether there may be one other than zero.

    Returns:
      For each layer the parameters of its directions, of JAX arrays.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when their shapes do not fit together, or the other library cannot hold them.

    >>> import lstm_jax as lj
    >>> layers_of("keras.from_params", lj.GRU(3, 5).init(jax.random.key(0)))
    Traceback (most recent call last):
    TypeError: keras.from_params: params must be LSTMParams, ProjectedLSTMParams, Directions of\
 these, or a tuple of layers; got GRUParams
    """
    layers = [_checked(function, layer) for layer in (params if is_stack(params) else [params])]
    assembled(function, layers, stack=True)
    single = [params for layer in layers for params in layer]
    library = function.split(".")[0]
    if not projection and any(isinstance(params, ProjectedLSTMParams) for params in single):
        raise ValueError(f"{function}: {library} has no projection; got ProjectedLSTMParams")
    if not directions and len(single) > len(layers):
        raise ValueError(
            f"{function}: {library} has no layer of two directions; convert forward and backward"
            " one by one"
        )
    shapes = {(len(layer), params.recurrent_kernel.shape) for layer in layers for params in layer}
    if uniform and len(shapes) > 1:
        raise ValueError(
            f"{function}: {library} has the same units and directions in all layers; got units"
            f" {', then '.join(_described(layer) for layer in layers)}"
        )
    if not bias:
        for params in single:
            if (largest := float(jnp.max(jnp.abs(params.bias)))) != 0:
                raise ValueError(
                    f"{function}: bias=False needs biases of zero; got values up to {largest:.3g}"
                )
    return layers


def _described(layer: Layer) -> str:
    units = []
    for params in layer:
        P, width = params.recurrent_kernel.shape
        shown = f" shown as {P}" if isinstance(params, ProjectedLSTMParams) else ""
        units.append(f"{width // 4}{shown}")
    return " and ".join(units)


def _checked(function: str, layer: PyTree) -> Layer:
    both = tuple(layer) if isinstance(layer, Directions) else (layer,)
    for params in both:
        if not isinstance(params, LSTMParams | ProjectedLSTMParams):
            raise TypeError(
                f"{function}: params must be LSTMParams, ProjectedLSTMParams, Directions of these,"
                f" or a tuple of layers; got {type(params).__name__}"
            )
        H = P = size(params.recurrent_kernel, 0)
        axes = {"kernel": "[I, 4H]", "recurrent_kernel": "[H, 4H]", "bias": "[4H]"}
        if isinstance(params, ProjectedLSTMParams):
            H = size(params.projection, 0)
            axes |= {"recurrent_kernel": "[P, 4H]", "projection": "[H, P]"}
        for name, shape in axes.items():
            array = getattr(params, name)
            check_shape(function, name, array, shape, I=size(params.kernel, 0), H=H, P=P)
    return jax.tree.map(jnp.asarray, both)
