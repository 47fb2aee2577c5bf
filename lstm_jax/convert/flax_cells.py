"""The parameter trees of Flax's cells, in one table, and their conversion in both directions.

    linen.LSTMCell,           ii, if, ig, io    kernel [I, H]
    linen.OptimizedLSTMCell   hi, hf, hg, ho    kernel [H, H], bias [H]
    nnx.LSTMCell              the same, with ``if_`` for ``if``
    nnx.OptimizedLSTMCell     dense_i           kernel [I, 4H]
                              dense_h           kernel [H, 4H], bias [4H]
    linen.GRUCell             ir, iz, in        kernel [I, H], bias [H]
                              hr, hz, hn        kernel [H, H]; hn also bias [H]
    nnx.GRUCell               dense_i           kernel [I, 3H], bias [3H]
                              dense_h           kernel [H, 3H]
    linen.SimpleCell          i                 kernel [I, H], bias [H]
                              h                 kernel [H, H]
    nnx.SimpleCell            the same, called ``dense_i`` and ``dense_h``

Joint arrays have our order of the gates: i, f, g, o and r, z, n. `flax_conv` has the convolutional
LSTM.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays, axis_size, check_shape
from lstm_jax.convert.families import Family, split_axes

Arrays = Mapping[str, Any]
"""Arrays by their path in a cell, such as ``ii/kernel``."""


@dataclass(frozen=True, eq=False)
class FlaxCell:
    """The parameter tree of one cell of Flax.

    Args:
      name: its API and class, such as ``"linen.LSTMCell"``.
      family: our cell and its parameters.
      arrays: for each of our parameters the arrays whose gate blocks it joins; none for a parameter
        of zeros.

    >>> LINEN_GRU.arrays["recurrent_bias"], NNX_GRU.arrays["recurrent_bias"]
    (('hn/bias',), ())
    """

    name: str
    family: Family
    arrays: Mapping[str, tuple[str, ...]]

    @property
    def kind(self) -> str:
        """What messages call the cell."""
        return self.family.name

    @property
    def params(self) -> type:
        """The type of our parameters."""
        return self.family.params

    @property
    def names(self) -> list[str]:
        """The paths of all arrays."""
        return [name for names in self.arrays.values() for name in names]

    def fits(self, arrays: Arrays) -> bool:
        """Whether the widths of the kernels are those of this cell.

        Axes are counted from the end, as arrays of several models at once have additional axes in
        front.
        """
        (hidden, *_), (inputs, *_) = self.arrays["recurrent_kernel"], self.arrays["kernel"]
        blocks = len(self.family.gates) // len(self.arrays["recurrent_kernel"])
        widths = {axis_size(arrays[name], -1) for name in (hidden, inputs)}
        return widths == {blocks * axis_size(arrays[hidden], -2)}

    def to_fields(
        self, function: str, path: str, arrays: Arrays, *, stacked: bool = False
    ) -> dict[str, Any]:
        """Convert the arrays of a cell to our parameters.

        Args:
          function: the public function to name in errors.
          path: the path of the cell, to name in errors, with a slash at its end.
          arrays: the arrays.
          stacked: whether all arrays may have the same additional axes in front, those of several
            models at once.

        Returns:
          Our parameters by name. Where an optimizer masks all arrays of a parameter, so is ours.

        Raises:
          TypeError: when a value is not a floating-point array, or dtypes differ.
          ValueError: when a shape is not that of the cell.
        """
        given = {path + name: array for name, array in arrays.items() if not is_masked(array)}
        given = as_arrays(function, given)
        kernels = {
            field: given.get(path + self.arrays[field][0])
            for field in ("kernel", "recurrent_kernel")
        }
        front = front_axes(kernels.values()) if stacked else 0
        sizes = {
            letter: axis_size(kernels[field], front)
            for field, letter in {"kernel": "I", "recurrent_kernel": "H"}.items()
            if kernels[field] is not None
        }
        fields = {}
        for field, names in self.arrays.items():
            parts = [given[path + name] for name in names if path + name in given]
            if len(parts) not in (0, len(names)):
                raise ValueError(
                    f"{function}: {', '.join(path + name for name in names)} are one array here:"
                    " mask all of them or none"
                )
            for name, part in zip(names, parts, strict=False):
                axes = _split_width(self.family.axes[field], len(names))
                check_stacked_shape(function, path + name, part, axes, front, sizes)
            if parts:
                fields[field] = jnp.array(jnp.concatenate(parts, axis=-1))
            elif names:
                fields[field] = arrays[names[0]]
        for field in self.arrays.keys() - fields.keys():  # of zeros: the second bias of a GRU
            bias = fields["bias"]
            H = axis_size(bias, -1) // len(self.family.gates)
            fields[field] = bias if is_masked(bias) else jnp.zeros_like(bias[..., :H])
        return {field: fields[field] for field in self.family.axes}

    def to_tree(self, function: str, params: Any) -> dict[str, dict[str, jax.Array]]:
        """Convert our parameters to the tree of this cell: the inverse of `to_fields`.

        Raises:
          ValueError: when the cell has no such parameter, and it is not zero.
        """
        flat = {}
        for field, names in self.arrays.items():
            array = getattr(params, field)
            if names:
                flat |= dict(zip(names, jnp.split(array, len(names), axis=-1), strict=True))
            elif (largest := float(jnp.max(jnp.abs(array)))) != 0:
                raise ValueError(
                    f"{function}: {self.name} has no {field}, which must be zero; got values up to"
                    f" {largest:.3g}"
                )
        return nest(flat)


def is_masked(value: Any) -> bool:
    """Whether an optimizer keeps nothing for an array: optax's `MaskedNode`, as restored too."""
    return value is None or (isinstance(value, tuple | list | Mapping) and not value)


def front_axes(kernels: Iterable[Any]) -> int:
    """The number of additional axes in front of kernels ``[..., I, H]``."""
    return max([0, *(jnp.ndim(kernel) - 2 for kernel in kernels if kernel is not None)])


def check_stacked_shape(
    function: str, name: str, array: Any, axes: str, front: int, sizes: Mapping[str, int]
) -> None:
    """Check a shape behind additional axes in front; without all sizes there is none to check."""
    if all(letter[-1] in sizes for letter in split_axes(axes)):
        rest = jax.ShapeDtypeStruct(np.shape(array)[front:], array.dtype)
        check_shape(function, name, rest, axes, **sizes)


def nest(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Make nested dicts of arrays by path, in the order of the first names.

    >>> nest({"h/kernel": 1, "i/kernel": 2, "h/bias": 3})
    {'h': {'kernel': 1, 'bias': 3}, 'i': {'kernel': 2}}
    """
    tree: dict[str, dict[str, Any]] = {}
    for name, array in flat.items():
        part, _, leaf = name.partition("/")
        tree.setdefault(part, {})[leaf] = array
    return tree


def _split_width(axes: str, parts: int) -> str:
    """Return the shape of one of several equal parts along the last axis.

    >>> _split_width("[I, 4H]", 4), _split_width("[3H]", 1)
    ('[I, H]', '[3H]')
    """
    *others, last = split_axes(axes)
    blocks = int(last[:-1] or 1) // parts
    return f"[{', '.join([*others, f'{blocks}H' if blocks > 1 else 'H'])}]"


def _arrays(leaf: str, parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{part}/{leaf}" for part in parts)


def _cell(
    name: str, family: Family, inputs: str, hidden: str, *, bias: str, recurrent_bias: str = ""
) -> FlaxCell:
    """A cell from the names of its linear layers, and of those with biases."""
    arrays = {
        "kernel": _arrays("kernel", inputs.split()),
        "recurrent_kernel": _arrays("kernel", hidden.split()),
        "bias": _arrays("bias", bias.split()),
    }
    if "recurrent_bias" in family.axes:
        arrays["recurrent_bias"] = _arrays("bias", recurrent_bias.split())
    return FlaxCell(name, family, arrays)


_LSTM, _GRU, _SIMPLE = families.LSTM, families.GRU, families.TANH_RNN
_HIDDEN = "hi hf hg ho"
LINEN_LSTM = _cell("linen.LSTMCell", _LSTM, "ii if ig io", _HIDDEN, bias=_HIDDEN)
NNX_LSTM = _cell("nnx.LSTMCell", _LSTM, "ii if_ ig io", _HIDDEN, bias=_HIDDEN)
NNX_OPTIMIZED_LSTM = _cell("nnx.OptimizedLSTMCell", _LSTM, "dense_i", "dense_h", bias="dense_h")
LINEN_GRU = _cell(
    "linen.GRUCell", _GRU, "ir iz in", "hr hz hn", bias="ir iz in", recurrent_bias="hn"
)
NNX_GRU = _cell("nnx.GRUCell", _GRU, "dense_i", "dense_h", bias="dense_i")
LINEN_SIMPLE = _cell("linen.SimpleCell", _SIMPLE, "i", "h", bias="i")
NNX_SIMPLE = _cell("nnx.SimpleCell", _SIMPLE, "dense_i", "dense_h", bias="dense_i")
