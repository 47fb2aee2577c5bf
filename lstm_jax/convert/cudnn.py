"""Weights of `jax.experimental.rnn`, cuDNN's LSTM in JAX: one flat vector.

The vector contains, for every layer and direction, ``W_ih [4H, I]`` and ``W_hh [4H, H]``: first
layer forward, first layer backward, second layer forward, and so on. After these come, in the same
order, ``b_ih [4H]`` and ``b_hh [4H]``. The gate order is ours, i, f, g, o.

Our bias is the sum of the two. `from_params` writes it to ``b_ih`` and sets ``b_hh`` to zero: the
layer computes the same, but the original split of the bias is lost.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.convert import families
from lstm_jax.convert.checks import as_arrays
from lstm_jax.convert.families import make_params
from lstm_jax.convert.layer_params import join_layers, split_layers
from lstm_jax.types import PyTree, check_size


def to_params(
    theirs: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
) -> PyTree:
    """Convert cuDNN's flat vector to parameters; the sizes are those of `jax.experimental.rnn`.

    Args:
      theirs: weights ``[n]``, as returned by `jax.experimental.rnn.init_lstm_weight`.
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      num_layers: number of layers ``L``.
      bidirectional: whether the layers are bidirectional.

    Returns:
      `LSTMParams`; `Directions` of them if bidirectional; a tuple for more than one layer. The bias
      is the sum ``b_ih + b_hh``.

    Raises:
      TypeError: when a size is not an integer, or `theirs` is not a floating-point array.
      ValueError: when a size is below 1, or the length of the vector does not match the sizes.

    >>> params = to_params(jnp.ones(200), input_size=3, hidden_size=5)
    >>> params.kernel.shape, float(params.bias[0])
    ((3, 20), 2.0)
    """
    function = "cudnn.to_params"
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    for name, value in sizes.items():
        check_size(function, name, value)
    flat = as_arrays(function, {"weights": theirs})["weights"]
    H, directions = hidden_size, 2 if bidirectional else 1
    inputs = [input_size] + [directions * H] * (num_layers - 1)
    shapes = [shape for read in inputs for shape in [(4 * H, read), (4 * H, H)] * directions]
    n = sum(rows * columns for rows, columns in shapes) + 8 * H * num_layers * directions
    if flat.shape != (n,):
        raise ValueError(
            f"{function}: weights must have shape ({n},) for input_size {input_size}, hidden_size"
            f" {H}, num_layers {num_layers}, bidirectional {bool(bidirectional)}; got {flat.shape}"
        )
    kernels, offset = [], 0
    for rows, columns in shapes:
        kernels.append(flat[offset : offset + rows * columns].reshape(rows, columns).T)
        offset += rows * columns
    biases = flat[offset:].reshape(-1, 2, 4 * H).sum(axis=1)
    single = [
        make_params(families.LSTM, {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias})
        for kernel, recurrent, bias in zip(kernels[::2], kernels[1::2], biases, strict=True)
    ]
    layers = [tuple(single[k : k + directions]) for k in range(0, len(single), directions)]
    return join_layers(function, layers, stack=num_layers > 1)


def from_params(params: PyTree) -> Float[Array, " n"]:
    """Convert parameters to cuDNN's flat vector.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers with equal units.

    Returns:
      Weights ``[n]``, with the bias in ``b_ih`` and zeros in ``b_hh``.

    Raises:
      TypeError: when `params` belong to another cell.
      ValueError: when cuDNN does not support such layers.

    >>> import jax
    >>> import lstm_jax as lj
    >>> from_params(lj.LSTM(3, 5).init(jax.random.key(0))).shape
    (200,)
    """
    layers = split_layers("cudnn.from_params", params, supported=[families.LSTM], uniform=True)
    kernels, biases = [], []
    for each in [each for layer in layers for each in layer]:
        kernels += [each.kernel.T.ravel(), each.recurrent_kernel.T.ravel()]
        biases += [each.bias, jnp.zeros_like(each.bias)]
    return jnp.concatenate(kernels + biases)
