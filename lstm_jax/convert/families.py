"""The families of cells that other libraries have too, in one table.

Converters look up here what differs between an LSTM, a GRU and a simple RNN: their cells and
parameters, their gates, and the shapes of their parameters in axis letters.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from lstm_jax import cells
from lstm_jax.convert.checks import axis_size
from lstm_jax.types import LSTMParams

Params = LSTMParams | cells.ProjectedLSTMParams | cells.GRUParams | cells.TanhRNNParams
"""Parameters of one layer in one direction."""


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of cell, with the shapes of its parameters.

    Args:
      name: what messages call it, after "has no".
      cell: returns the cell, as ``cell(I, H, dtype=...)`` and, with a projection,
        ``projection_size=P``.
      params: the type of its parameters.
      gates: a letter for each gate block of a kernel, in our order.
      axes: shape of each parameter in axis letters, such as ``"[H, 4H]"``.

    >>> LSTM.width, TANH_RNN.width
    ('4H', 'H')
    """

    name: str
    cell: Callable[..., Any]
    params: type
    gates: str
    axes: Mapping[str, str]

    @property
    def width(self) -> str:
        """The last axis of a kernel in axis letters, such as ``"4H"``."""
        return f"{len(self.gates)}H" if len(self.gates) > 1 else "H"

    def sizes(self, arrays: Mapping[str, Any]) -> dict[str, int]:
        """Return what each axis letter stands for, from arrays by our names.

        >>> LSTM.sizes({"kernel": jnp.ones((3, 8)), "recurrent_kernel": jnp.ones((2, 8))})
        {'H': 2, 'I': 3}
        """
        sizes: dict[str, int] = {}
        first, *others = self.axes
        for name in [*others, first]:  # the input kernel last, as it may be of another width
            letters = split_axes(self.axes[name])
            if len(letters) < 2 or name not in arrays:
                continue
            for axis, letter in enumerate(letters):
                if len(letter) == 1:
                    sizes.setdefault(letter, axis_size(arrays[name], axis))
        return sizes


def split_axes(axes: str) -> list[str]:
    """Split a shape in axis letters.

    >>> split_axes("[H, 4H]")
    ['H', '4H']
    """
    return axes.strip("[]").split(", ")


def _with_blocks(blocks: int, **others: str) -> dict[str, str]:
    """Return the shapes of two kernels and a bias with this many gate blocks."""
    width = f"{blocks}H" if blocks > 1 else "H"
    common = {"kernel": f"[I, {width}]", "recurrent_kernel": f"[H, {width}]", "bias": f"[{width}]"}
    return common | others


LSTM = Family("LSTM", cells.LSTM, LSTMParams, "ifgo", _with_blocks(4))
PROJECTED_LSTM = Family(
    "projection",
    cells.ProjectedLSTM,
    cells.ProjectedLSTMParams,
    "ifgo",
    _with_blocks(4, recurrent_kernel="[P, 4H]", projection="[H, P]"),
)
GRU = Family("GRU", cells.GRU, cells.GRUParams, "rzn", _with_blocks(3, recurrent_bias="[H]"))
GRU_RESET_BEFORE = Family(
    "GRU that resets before the product",
    functools.partial(cells.GRU, reset_after=False),
    cells.GRUParams,
    "rzn",
    _with_blocks(3),
)
TANH_RNN = Family("simple RNN", cells.TanhRNN, cells.TanhRNNParams, "h", _with_blocks(1))

FAMILIES = (LSTM, PROJECTED_LSTM, GRU, GRU_RESET_BEFORE, TANH_RNN)


def family_of(params: Any) -> Family | None:
    """Return the family of parameters; None for those of other cells.

    A GRU without ``recurrent_bias`` resets before the product.

    >>> family_of(cells.GRUParams(1, 2, 3)).name
    'GRU that resets before the product'
    """
    families = [family for family in FAMILIES if isinstance(params, family.params)]
    for family in families:
        given = {name for name in params._fields if getattr(params, name) is not None}
        if given == family.axes.keys():
            return family
    return families[0] if families else None


def required_family(params: Params) -> Family:
    """Return the family of parameters that have one."""
    family = family_of(params)
    assert family is not None
    return family


def family_of_width(width: int, units: int) -> Family:
    """Return the family of a kernel with this many columns; the LSTM if there is none.

    Both kinds of GRU have equal kernels: the result is `GRU`, which resets after the product.

    Args:
      width: size of the axis of the gate blocks, of the recurrent kernel.
      units: hidden units ``H``.

    >>> [family_of_width(width, 5).name for width in (20, 15, 5, 7)]
    ['LSTM', 'GRU', 'simple RNN', 'LSTM']
    """
    by_blocks = {len(family.gates): family for family in (LSTM, GRU, TANH_RNN)}
    blocks, rest = divmod(width, units) if units else (0, 0)
    return LSTM if rest else by_blocks.get(blocks, LSTM)


def make_params(family: Family, arrays: Mapping[str, Any]) -> Params:
    """Make the parameters of one direction from arrays with checked shapes.

    The arrays are copied: later changes to the arrays of the other library have no effect.

    Args:
      family: their family.
      arrays: arrays by our names. Biases may be omitted: they are zeros then.

    Returns:
      Parameters of the family. Float64 becomes float32 unless JAX has it enabled.

    >>> kernels = {"kernel": jnp.ones((3, 8)), "recurrent_kernel": jnp.ones((2, 8))}
    >>> make_params(LSTM, kernels).bias.shape
    (8,)
    """
    ours = {name: jnp.array(array) for name, array in arrays.items()}
    H, dtype = family.sizes(ours)["H"], ours["kernel"].dtype
    sizes = {"H": H, family.width: len(family.gates) * H}
    for name, axes in family.axes.items():
        if name not in ours:
            ours[name] = jnp.zeros([sizes[letter] for letter in split_axes(axes)], dtype)
    return family.params(**ours)


def join_gru_biases(input_bias: Any, recurrent_bias: Any) -> dict[str, Any]:
    """Join two biases of all gates of a GRU that resets after the product, in our gate order.

    Only the candidate needs two biases, as its reset gate multiplies the second:

        bias           = input_bias + recurrent_bias for r and z, input_bias for n
        recurrent_bias = recurrent_bias of n

    Args:
      input_bias: ``[..., 3H]``, added to the product with the input.
      recurrent_bias: ``[..., 3H]``, added to the product with the hidden state.

    Returns:
      ``bias [..., 3H]`` and ``recurrent_bias [..., H]``.

    >>> join_gru_biases(jnp.array([1.0, 2.0, 3.0]), jnp.array([10.0, 20.0, 30.0]))["bias"].tolist()
    [11.0, 22.0, 3.0]
    """
    H = input_bias.shape[-1] // 3
    of_gates, of_candidate = jnp.split(jnp.asarray(recurrent_bias), [2 * H], axis=-1)
    zeros = jnp.zeros_like(of_candidate)
    bias = input_bias + jnp.concatenate([of_gates, zeros], axis=-1)
    return {"bias": bias, "recurrent_bias": of_candidate}


def split_gru_biases(params: Params) -> tuple[Any, Any]:
    """Split the biases of `GRUParams` into two of all gates: the inverse of `join_gru_biases`.

    The second bias of the gates r and z is zero.

    >>> params = cells.GRUParams(1, 2, jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0]))
    >>> [bias.tolist() for bias in split_gru_biases(params)]
    [[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]]
    """
    assert isinstance(params, cells.GRUParams)
    assert params.recurrent_bias is not None
    H = params.bias.shape[-1] // 3
    zeros = jnp.zeros_like(params.bias[..., : 2 * H])
    return params.bias, jnp.concatenate([zeros, params.recurrent_bias], axis=-1)
