"""How cells check what they are given when a state has more feature axes than one."""

from collections.abc import Mapping
from typing import Any

from lstm_jax.cells.cell import check_size


def check_features(
    function: str,
    arrays: Mapping[str, Any],
    batch_shape: tuple[int, ...],
    features: Mapping[str, tuple[tuple[int, ...], str]],
) -> None:
    """Raise unless every array has the batch axes of the input, and then its own feature axes.

    Args:
      function: the public function to name in errors.
      arrays: arrays by name; a state's are `state._asdict()`.
      batch_shape: the batch axes of the input.
      features: for each name the sizes of its feature axes, and how they are written.

    Raises:
      ValueError: when one has another shape.

    >>> import jax.numpy as jnp
    >>> check_features("step", {"C": jnp.zeros((5, 3))}, (2,), {"C": ((5, 3), "[V, K]")})
    Traceback (most recent call last):
    ValueError: step: C must have shape (2, 5, 3), the batch axes of x and [V, K]; got (5, 3)
    """
    for name, (sizes, axes) in features.items():
        wanted = (*batch_shape, *sizes)
        if (got := arrays[name].shape) != wanted:
            raise ValueError(
                f"{function}: {name} must have shape {wanted}, the batch axes of x and {axes};"
                f" got {got}"
            )


def check_heads(function: str, num_heads: Any, hidden_size: int) -> None:
    """Raise unless the hidden units can be dealt out evenly to the heads.

    Args:
      function: the public function to name in errors.
      num_heads: number of heads ``N``.
      hidden_size: number of hidden units ``H``.

    Raises:
      TypeError: when `num_heads` is not an integer.
      ValueError: when it is below 1, or does not divide `hidden_size`.

    >>> check_heads("SLSTM", 3, 8)
    Traceback (most recent call last):
    ValueError: SLSTM: num_heads must divide hidden_size = 8; got 3
    """
    check_size(function, "num_heads", num_heads)
    if hidden_size % num_heads:
        raise ValueError(
            f"{function}: num_heads must divide hidden_size = {hidden_size}; got {num_heads}"
        )
