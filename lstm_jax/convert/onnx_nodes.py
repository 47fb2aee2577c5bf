"""The inputs, gate blocks and defaults of the recurrent operators of ONNX.

The weights of a node have a first axis for its directions: ``W [D, kH, I]``, ``R [D, kH, H]``, the
biases of both ``B [D, 2kH]``, and the peepholes ``P [D, 3H]`` in the order i, o, f. The gate blocks
are in the order i, o, f, c in an LSTM, where c is our g, and z, r, h in a GRU, where h is our n.
"""

import jax
import jax.numpy as jnp
import numpy as np

RECURRENT = ("LSTM", "GRU", "RNN")
"""The recurrent operators."""

DOMAINS = ("", "ai.onnx")
"""The names of the domain of the operators of ONNX itself."""

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
"""The inputs of a node in their order; a GRU and an RNN have the first six."""

BLOCKS = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}
"""The gate blocks of ONNX, by operator, in our letters."""

OUR_BLOCKS = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
"""The gate blocks of our parameters, by operator."""

PEEPHOLES, OUR_PEEPHOLES = "iof", "ifo"
"""The blocks of the peepholes, in ONNX and in our parameters."""

DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""The activations of a direction where a node lists none, by operator."""


def reordered(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """The blocks along the first axis in another order.

    >>> reordered(np.array([1, 2, 3, 4]), "iofg", "ifgo").tolist()
    [1, 3, 4, 2]
    """
    blocks = dict(zip(source, np.split(array, len(source)), strict=True))
    return np.concatenate([blocks[gate] for gate in target])


def to_ours(kind: str, array: np.ndarray) -> jax.Array:
    """Gate blocks of ONNX ``[kH, ...]`` as ours ``[..., kH]``.

    >>> to_ours("GRU", np.array([[1], [2], [3]])).tolist()
    [[2, 1, 3]]
    """
    return jnp.asarray(reordered(array, BLOCKS[kind], OUR_BLOCKS[kind]).T)


def to_theirs(kind: str, array: np.ndarray) -> np.ndarray:
    """Our gate blocks ``[..., kH]`` as those of ONNX ``[kH, ...]``: the inverse of `to_ours`.

    >>> to_theirs("GRU", np.array([[2, 1, 3]])).tolist()
    [[1], [2], [3]]
    """
    return reordered(array.T, OUR_BLOCKS[kind], BLOCKS[kind])
