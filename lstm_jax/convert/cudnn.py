"""Weights of `jax.experimental.rnn`, cuDNN's LSTM in JAX: one flat vector.

It holds, for every layer and direction, ``W_ih [4H, I]`` and ``W_hh [4H, H]``, in the order forward
and backward of the first layer, then of the second; and after all of these, in the same order,
``b_ih [4H]`` and ``b_hh [4H]``. The gates lie in our order, i, f, g, o. Our bias is the sum of the
two there; on the way back all of it is in ``b_ih``, and ``b_hh`` is zero: the function is kept, not
how a bias was split.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.backends.cudnn import packed
from lstm_jax.cells.checks import check_size
from lstm_jax.convert.arrays import as_arrays
from lstm_jax.convert.layers import Params, assembled, layers_of, one_direction
from lstm_jax.types import PyTree


def to_params(
    theirs: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
) -> PyTree:
    """Parameters from cuDNN's flat vector, with the arguments of `jax.experimental.rnn`.

    Args:
      theirs: weights ``[n]``, as `jax.experimental.rnn.init_lstm_weight` draws them.
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      num_layers: number of layers ``L``.
      bidirectional: whether each layer runs in both directions.

    Returns:
      `LSTMParams`; `Directions` of them for two directions; a tuple for more than one layer. The
      bias is the sum ``b_ih + b_hh``.

    Raises:
      TypeError: when a size is not an integer, or `theirs` no floating-point array.
      ValueError: when a size is below 1, or the vector has another length than these sizes need.

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
    reads = [input_size] + [directions * H] * (num_layers - 1)
    blocks = [shape for read in reads for shape in [(4 * H, read), (4 * H, H)] * directions]
    n = sum(rows * columns for rows, columns in blocks) + 8 * H * num_layers * directions
    if flat.shape != (n,):
        raise ValueError(
            f"{function}: weights must have shape ({n},) for input_size {input_size}, hidden_size"
            f" {H}, num_layers {num_layers}, bidirectional {bool(bidirectional)}; got {flat.shape}"
        )
    kernels, at = [], 0
    for shape in blocks:
        kernels.append(flat[at : at + shape[0] * shape[1]].reshape(shape).T)
        at += shape[0] * shape[1]
    biases = flat[at:].reshape(-1, 2, 4 * H).sum(axis=1)
    single = [
        one_direction({"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias})
        for kernel, recurrent, bias in zip(kernels[::2], kernels[1::2], biases, strict=True)
    ]
    layers = [tuple(single[k : k + directions]) for k in range(0, len(single), directions)]
    return assembled(function, layers, stack=num_layers > 1)


def from_params(params: PyTree) -> Float[Array, " n"]:
    """cuDNN's flat vector from parameters.

    Args:
      params: `LSTMParams`, `Directions` of them, or a tuple of layers with as many units each.

    Returns:
      Weights ``[n]``; what was split over two biases is all in the first.

    Raises:
      TypeError: when `params` are of another cell.
      ValueError: when cuDNN has no layers for them.

    >>> import lstm_jax as lj
    >>> from_params(lj.LSTM(3, 5).init(jax.random.key(0))).shape
    (200,)
    """
    layers = layers_of("cudnn.from_params", params, projection=False, uniform=True)
    single = [_split(each) for layer in layers for each in layer]
    kernels, biases = zip(*single, strict=True)
    return jnp.concatenate([*kernels, *biases])


def _split(params: Params) -> tuple[jax.Array, jax.Array]:
    """What a layer's vector holds before its biases, and these."""
    kernel, recurrent_kernel, bias, *_ = params
    flat = packed(kernel, recurrent_kernel, bias)
    return flat[: -2 * bias.size], flat[-2 * bias.size :]
