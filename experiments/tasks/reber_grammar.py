"""The embedded Reber grammar: its transitions, what is drawn from it, and how it is predicted.

A node of the graph below has one or two edges to other nodes, each with a symbol. A string is a
walk from the first node to the end, by edges of equal probability. The inner grammar is that of
Reber (1967); the embedded one has it between T and T or between P and P. Whoever predicts the
second-last symbol has to remember the second one, past a string of any length:

    B T [B ... E] T E        B P [B ... E] P E

Reference: Smith & Zipser (1989), *Learning sequential structure with the real-time recurrent
learning algorithm*; Hochreiter & Schmidhuber (1997), experiment 1.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from lstm_jax.types import PRNGKey

Activation = Literal["softmax", "sigmoid"]
"""What makes probabilities of outputs: one distribution of all, or one probability of each."""
LOSSES: dict[Activation, str] = {"softmax": "cross_entropy", "sigmoid": "squared_error"}
"""The loss that belongs to each."""

SYMBOLS = "BTPSXVE"

# Of every node, the symbols of its edges and the nodes that they lead to.
REBER = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
}
INNER_END = 7

T_INNER, P_INNER, LAST, END = 2, 10, 18, 19
EMBEDDED = (
    {0: {"B": 1}, 1: {"T": T_INNER, "P": P_INNER}}
    | {
        first + node: {symbol: first + to for symbol, to in edges.items()}
        for first in (T_INNER, P_INNER)
        for node, edges in REBER.items()
    }
    | {T_INNER + INNER_END: {"T": LAST}, P_INNER + INNER_END: {"P": LAST}, LAST: {"E": END}}
    # After the end a string is padded with E.
    | {END: {"E": END}}
)
CLOSING = (T_INNER + INNER_END, P_INNER + INNER_END)
"""The nodes where the next symbol is the second-last."""
SHORTEST = 9
"""Symbols of the shortest string."""

# Both edges of a node, the same one twice where there is only one, so that each is taken half of
# the time; the nodes are in the order of their numbers.
_EDGES = [[*EMBEDDED[node].items()] for node in range(len(EMBEDDED))]
EDGE_SYMBOLS = np.array([[SYMBOLS.index(edges[k][0]) for k in (0, -1)] for edges in _EDGES])
EDGE_NODES = np.array([[edges[k][1] for k in (0, -1)] for edges in _EDGES])
POSSIBLE = (EDGE_SYMBOLS[..., None] == np.arange(len(SYMBOLS))).any(axis=1)
"""Whether a symbol is on an edge of a node ``[nodes, symbols]``."""


class Walk(NamedTuple):
    """Symbols in the order in which they are drawn.

    Attributes:
      symbols: class indices ``[N, B]``, in the order of `SYMBOLS`.
      nodes: the node of every symbol's edge ``[N, B]``: what is possible there is `POSSIBLE`.
    """

    symbols: Int[Array, "N B"]
    nodes: Int[Array, "N B"]


class Next(NamedTuple):
    """What follows every symbol of a sequence.

    Attributes:
      symbols: the next symbol, as a class index ``[T, B]``.
      possible: the symbols that could be next ``[T, B, 7]``.
    """

    symbols: Int[Array, "T B"]
    possible: Bool[Array, "T B 7"]


def ends_within(symbols: int) -> np.ndarray:
    """The probability that a walk is at the end after at most as many symbols.

    ``p_0[n] = 1`` for the end and 0 elsewhere, and ``p_k[n] = (p_{k-1}[a] + p_{k-1}[b]) / 2`` for
    the nodes ``a`` and ``b`` to which the edges of ``n`` lead.

    Args:
      symbols: the number of symbols ``N``.

    Returns:
      ``[N + 1, nodes]``.

    >>> [round(float(ends_within(n)[n, 0]), 5) for n in (8, 9, 40)]
    [0.0, 0.25, 0.99994]
    """
    found = [(np.arange(len(EDGE_NODES)) == END).astype(float)]
    for _ in range(symbols):
        found.append(found[-1][EDGE_NODES].mean(axis=1))
    return np.array(found)


def draw_strings(key: PRNGKey, longest: int, count: int) -> tuple[Walk, Int[Array, " B"]]:
    """Draw strings from the grammar that have at most a number of symbols.

    Their distribution is that of the grammar, given that they are not too long.

    Args:
      key: the key to draw from.
      longest: most symbols ``N`` of a string.
      count: number of strings.

    Returns:
      The strings ``[N, B]``, with E after their ends, and their numbers of symbols ``[B]``.

    Raises:
      ValueError: if no string is so short.

    >>> walk, lengths = draw_strings(jax.random.key(0), 12, 2)
    >>> [as_text(symbols) for symbols in walk.symbols.T], lengths.tolist()
    (['BPBPTTVPSEPE', 'BPBTXSEPEEEE'], [12, 9])
    """
    if longest < SHORTEST:
        raise ValueError(f"draw_strings: longest must be at least {SHORTEST}; got {longest}")
    # After an edge, the walk has to end within the steps that follow.
    in_time = ends_within(longest)[:-1][::-1][:, EDGE_NODES]
    either = in_time.sum(axis=-1)
    second = np.where(either > 0, in_time[..., 1] / np.where(either > 0, either, 1), 0.5)
    walk = _walk(key, jnp.asarray(second, jnp.float32), count, EDGE_NODES)
    return walk, jnp.sum(walk.nodes != END, axis=0)


def draw_streams(key: PRNGKey, symbols: int, count: int) -> Walk:
    """Draw streams of strings, one after the other without a mark between them.

    Args:
      key: the key to draw from.
      symbols: number of symbols ``N``.
      count: number of streams.

    Returns:
      The streams ``[N, B]``, which start with a string.

    >>> as_text(draw_streams(jax.random.key(0), 24, 1).symbols[:, 0])
    'BTBPTVVETEBPBTSSSSSXSEPE'
    """
    half = jnp.full((1, len(EDGE_NODES)), 0.5)
    second = jnp.broadcast_to(half, (symbols, half.shape[1]))
    return _walk(key, second, count, endless(EDGE_NODES))


def endless(edge_nodes: np.ndarray) -> np.ndarray:
    """The nodes to which edges lead ``[nodes, 2]``, where the first node follows the end."""
    return np.where(edge_nodes == END, 0, edge_nodes)


def _walk(key: PRNGKey, second: Float[Array, "N nodes"], count: int, to: np.ndarray) -> Walk:
    """Walk from the first node: ``second`` is the probability of a node's second edge."""
    edge_symbols, edge_nodes = jnp.asarray(EDGE_SYMBOLS), jnp.asarray(to)
    draws = jax.random.uniform(key, (len(second), count))

    def step(node: Array, x: tuple[Array, Array]) -> tuple[Array, Walk]:
        draw, second_t = x
        edge = (draw < second_t[node]).astype(jnp.int32)
        return edge_nodes[node, edge], Walk(edge_symbols[node, edge], node)

    _, walk = jax.lax.scan(step, jnp.zeros(count, edge_nodes.dtype), (draws, second))
    return walk


def with_second(walk: Walk, symbol: str) -> Walk:
    """Strings with the same inner parts, and a given second symbol, ``T`` or ``P``.

    Args:
      walk: strings ``[N, ...]``.
      symbol: their second and second-last symbol.

    >>> walk, _ = draw_strings(jax.random.key(0), 9, 1)
    >>> [as_text(with_second(walk, symbol).symbols[:, 0]) for symbol in "TP"]
    ['BTBPVVETE', 'BPBPVVEPE']
    """
    inner = {"T": T_INNER, "P": P_INNER}[symbol]
    copy = P_INNER - T_INNER
    of_inner = (walk.nodes >= T_INNER) & (walk.nodes < LAST)
    nodes = jnp.where(of_inner, (walk.nodes - T_INNER) % copy + inner, walk.nodes)
    second = (nodes == 1) | (nodes == inner + INNER_END)
    return Walk(jnp.where(second, SYMBOLS.index(symbol), walk.symbols), nodes)


def what_is_next(walk: Walk) -> tuple[Int[Array, "T B"], Next]:
    """Inputs and targets of a network that predicts the next symbol: ``T = N - 1`` steps."""
    following = Next(walk.symbols[1:], jnp.asarray(POSSIBLE)[walk.nodes[1:]])
    return walk.symbols[:-1], following


def possible_highest(
    outputs: Float[Array, "... 7"], possible: Bool[Array, "... 7"]
) -> Bool[Array, "..."]:
    """Whether every possible next symbol has a higher output than every other symbol.

    The softmax of all outputs and the sigmoid of each keep their order, so that the criterion is
    the same for logits and for the activations that are made of them.

    Args:
      outputs: outputs of the symbols.
      possible: whether a symbol is possible.

    Reference:
      Hochreiter & Schmidhuber (1997), experiment 1.

    >>> possible_highest(jnp.array([[0.1, 0.5, 0.4], [0.4, 0.5, 0.1]]),
    ...                  jnp.array([False, True, True])[None]).tolist()
    [True, False]
    """
    lowest_possible = jnp.min(outputs, axis=-1, where=possible, initial=jnp.inf)
    highest_other = jnp.max(outputs, axis=-1, where=~possible, initial=-jnp.inf)
    return lowest_possible > highest_other


def activations(outputs: Float[Array, "... 7"], activation: Activation) -> Float[Array, "... 7"]:
    """The softmax of all outputs, or the sigmoid of each."""
    return jax.nn.softmax(outputs) if activation == "softmax" else jax.nn.sigmoid(outputs)


def losses(
    outputs: Float[Array, "T B 7"], following: Next, targets: Bool[Array, "T B 7"] | None
) -> Float[Array, "T B"]:
    """The loss of every step.

    Args:
      outputs: logits.
      following: what is next.
      targets: symbols to which a sigmoid of the output should be 1, where all others should be 0,
        for a squared error; None for the cross-entropy of a softmax and the next symbol, in nats.
    """
    if targets is None:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, following.symbols)
    errors = jax.nn.sigmoid(outputs) - targets.astype(outputs.dtype)
    return jnp.sum(jnp.square(errors), axis=-1)


def as_text(symbols: np.ndarray | Array) -> str:
    """Class indices as a string of symbols.

    >>> as_text(np.array([0, 1, 6]))
    'BTE'
    """
    return "".join(SYMBOLS[k] for k in np.asarray(symbols))
