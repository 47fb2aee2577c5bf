"""The parameter tree of Flax's convolutional LSTM, `linen.ConvLSTMCell`.

    ih    kernel [*K, I, 4H], bias [4H]
    hh    kernel [*K, H, 4H], bias [4H]

The gates have the order i, g, f, o, and every call adds 1 to the forget gate. Our bias is the sum
of both biases and that 1.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells import ConvLSTMParams
from lstm_jax.convert.checks import as_arrays, axis_size
from lstm_jax.convert.flax_cells import Arrays, check_stacked_shape, is_masked, nest
from lstm_jax.convert.gate_order import GATE_ORDER, reorder_gates

_THEIR_ORDER = "igfo"
_KERNELS = {"kernel": "ih/kernel", "recurrent_kernel": "hh/kernel"}
_BIASES = ("ih/bias", "hh/bias")


@dataclass(frozen=True, eq=False)
class FlaxConvLSTM:
    """The parameter tree of `linen.ConvLSTMCell`; the methods are those of `FlaxCell`.

    Args:
      use_bias: whether both convolutions have a bias.
    """

    use_bias: bool = True

    name = "linen.ConvLSTMCell"
    kind = "convolutional LSTM"
    params = ConvLSTMParams

    @property
    def names(self) -> list[str]:
        """The paths of all arrays."""
        return [*_KERNELS.values(), *(_BIASES if self.use_bias else ())]

    def fits(self, arrays: Arrays) -> bool:
        """Whether both kernels are those of convolutions with four gates."""
        hidden, inputs = (arrays[name] for name in reversed(_KERNELS.values()))
        widths = {axis_size(kernel, -1) for kernel in (hidden, inputs)}
        return jnp.ndim(hidden) >= 3 and widths == {4 * axis_size(hidden, -2)}

    def to_fields(
        self,
        function: str,
        path: str,
        arrays: Arrays,
        *,
        stacked: bool = False,
        moments: bool = False,
    ) -> dict[str, Any]:
        """Convert the arrays of a cell to our parameters.

        Args:
          function, path, arrays, stacked: as for `FlaxCell`.
          moments: whether they are what an optimizer keeps for each array, such as its mean
            gradient. The gradients of two biases and of their sum are equal, so the result is
            their mean, and nothing is added.

        Returns:
          Our parameters by name.

        Raises:
          TypeError, ValueError: as for `FlaxCell`.
        """
        given = {path + name: array for name, array in arrays.items() if not is_masked(array)}
        given = as_arrays(function, given)
        biases = [given[path + name] for name in _BIASES if path + name in given]
        front = jnp.ndim(biases[0]) - 1 if stacked and biases else 0
        kernels = {field: given.get(path + name) for field, name in _KERNELS.items()}
        sizes = {
            letter: axis_size(kernels[field], -2)
            for field, letter in {"kernel": "I", "recurrent_kernel": "H"}.items()
            if kernels[field] is not None
        }
        fields: dict[str, Any] = {}
        for field, letter in {"kernel": "I", "recurrent_kernel": "H"}.items():
            name, kernel = path + _KERNELS[field], kernels[field]
            if kernel is None:
                fields[field] = arrays[_KERNELS[field]]
                continue
            axes = f"[{letter}, 4H]"
            check_stacked_shape(function, name, kernel, axes, jnp.ndim(kernel) - 2, sizes)
            fields[field] = _to_ours(kernel)
        for name, bias in zip(_BIASES, biases, strict=False):
            check_stacked_shape(function, path + name, bias, "[4H]", front, sizes)
        masked = [arrays[name] for name in _BIASES if name in arrays and is_masked(arrays[name])]
        if masked:
            fields["bias"] = masked[0]
        elif not biases:
            kernel = fields["kernel"]
            fields["bias"] = _forget_ones(jnp.zeros(kernel.shape[-1:], kernel.dtype), 1 - moments)
        elif moments:
            fields["bias"] = _to_ours(sum(map(jnp.asarray, biases)) / len(biases))
        else:
            fields["bias"] = _forget_ones(_to_ours(sum(map(jnp.asarray, biases))), 1)
        return fields

    def to_tree(self, function: str, params: Any) -> dict[str, dict[str, jax.Array]]:
        """Convert our parameters to the tree of this cell; the bias becomes that of ``ih``.

        Raises:
          ValueError: when there are peepholes, which Flax does not have.
        """
        if params.peephole is not None:
            raise ValueError(f"{function}: {self.name} has no peepholes; got params.peephole")
        bias = _to_theirs(_forget_ones(params.bias, -1))
        kernels = {name: _to_theirs(getattr(params, field)) for field, name in _KERNELS.items()}
        return nest(kernels | {"ih/bias": bias, "hh/bias": jnp.zeros_like(bias)})


LINEN_CONV_LSTM = FlaxConvLSTM()
LINEN_CONV_LSTM_NO_BIAS = FlaxConvLSTM(use_bias=False)


def _to_ours(array: Any) -> jax.Array:
    return reorder_gates(jnp.asarray(array), source=_THEIR_ORDER, target=GATE_ORDER)


def _to_theirs(array: jax.Array) -> jax.Array:
    return reorder_gates(array, source=GATE_ORDER, target=_THEIR_ORDER)


def _forget_ones(bias: jax.Array, value: float) -> jax.Array:
    """Add a number to the block of the forget gate, in our order."""
    H, f = bias.shape[-1] // len(GATE_ORDER), GATE_ORDER.index("f")
    return bias.at[..., f * H : (f + 1) * H].add(value)
