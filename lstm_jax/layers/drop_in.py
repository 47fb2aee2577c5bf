"""Our cells with the arguments of Flax's cells, for the drop-in cells of linen and NNX."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lstm_jax.cells import GRU, LSTM, ConvLSTM, TanhRNN
from lstm_jax.initializers import ForgetBias, lecun_normal, per_gate
from lstm_jax.layers.carries import state_of
from lstm_jax.types import Policy, PyTree

Kind = Literal["LSTM", "GRU", "TanhRNN", "ConvLSTM"]
"""The names of the cells that Flax has too."""

KINDS: Mapping[str, Any] = {"LSTM": LSTM, "GRU": GRU, "TanhRNN": TanhRNN, "ConvLSTM": ConvLSTM}

NAMES = {
    "gate_fn": "gate_activation",
    "activation_fn": "activation",
    "residual": "residual",
    "kernel_init": "kernel_init",
    "recurrent_kernel_init": "recurrent_kernel_init",
    "bias_init": "bias_init",
    "recurrent_bias_init": "recurrent_bias_init",
}
"""Arguments of Flax's cells, and the fields of ours."""


def drop_in_cell(
    kind: Kind,
    input_size: int,
    hidden_size: int,
    arguments: Mapping[str, Any],
    *,
    gate_by_gate: bool,
) -> Any:
    """The cell that computes the same as one of Flax.

    Args:
      kind: the name of the cell.
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      arguments: the arguments of Flax's cell by name.
      gate_by_gate: whether its initializers draw each gate by itself, ``[I, H]``.

    Returns:
      A cell.

    >>> import jax, jax.numpy as jnp
    >>> arguments = {"dtype": None, "param_dtype": jnp.float32, "gate_fn": jax.nn.hard_sigmoid}
    >>> drop_in_cell("GRU", 3, 5, arguments, gate_by_gate=True)
    GRU(input_size=3, hidden_size=5, gate_activation=hard_sigmoid)
    """
    settings = {ours: arguments[name] for name, ours in NAMES.items() if name in arguments}
    if gate_by_gate:
        gates = KINDS[kind].gate_blocks
        for name in ("kernel_init", "recurrent_kernel_init", "bias_init"):
            if name in settings:
                settings[name] = per_gate(settings[name], gates)
    return KINDS[kind](input_size, hidden_size, dtype=_policy(arguments), **settings)


def drop_in_conv_lstm(
    function: str, input_shape: Sequence[int], features: int, arguments: Mapping[str, Any]
) -> ConvLSTM:
    """The convolutional LSTM that computes the same as that of Flax.

    Flax convolves the state with the window's strides and padding, which works only where they
    keep the grid. Here the state's own convolution always does: other strides, and ``"VALID"``
    padding, give a smaller grid.

    Args:
      function: the public function to name in errors.
      input_shape: spatial axes and channels of one input.
      features: number of hidden channels ``H``.
      arguments: the other arguments of Flax's cell by name.

    Returns:
      A cell.

    Raises:
      ValueError: when `padding` is another one than ``"SAME"``, ``"VALID"``, or pairs that are the
        same as one of these.

    >>> arguments = {"kernel_size": (3,), "strides": None, "padding": [(1, 1)], "dtype": None}
    >>> drop_in_conv_lstm("ConvLSTMCell", (8, 3), 4, arguments | {"param_dtype": "float32"}).grid
    (8,)
    """
    window = tuple(arguments["kernel_size"])
    strides = arguments["strides"] or 1
    padding = arguments["padding"]
    if not isinstance(padding, str):
        pairs = [(pair, pair) if isinstance(pair, int) else tuple(pair) for pair in padding]
        same = [((k - 1) // 2, k // 2) for k in window]
        named = {"SAME": same, "VALID": [(0, 0) for _ in window]}
        padding = next((name for name, each in named.items() if each == pairs), padding)
    if padding not in ("SAME", "VALID"):
        raise ValueError(
            f"{function}: padding must be 'SAME' or 'VALID', or the pairs of one of them, as the"
            f" state is padded with zeros on both sides; got {padding!r}"
        )
    return ConvLSTM(
        tuple(input_shape),
        features,
        kernel_size=window,
        strides=strides,
        padding=padding,
        recurrent_kernel_init=lecun_normal,
        bias_init=ForgetBias(1.0),
        dtype=_policy(arguments),
    )


def drop_in_state(function: str, kind: Kind, carry: PyTree) -> Any:
    """The state from a carry of Flax: a pair ``(c, h)``, an array, or a state with named fields.

    Args:
      function: the public function to name in errors.
      kind: the name of the cell.
      carry: the carry.

    Returns:
      The state.

    Raises:
      TypeError: when it is no carry of this cell.

    >>> drop_in_state("LSTMCell", "LSTM", ("c", "h"))
    LSTMState(h='h', c='c')
    """
    state_type = KINDS[kind].state_type
    fields = state_type._fields
    state = state_of(state_type(*fields), carry, "ch")
    if isinstance(state, state_type):
        return state
    wanted = "a tuple (c, h)" if len(fields) == 2 else "an array h"
    got = f"{type(carry).__name__} of {len(carry)}" if isinstance(carry, tuple | list) else None
    raise TypeError(f"{function}: carry must be {wanted}; got {got or type(carry).__name__}")


def _policy(arguments: Mapping[str, Any]) -> Policy:
    return Policy(param=arguments["param_dtype"], compute=arguments["dtype"])
