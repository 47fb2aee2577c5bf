"""Curves of several seeds on common updates."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def on_common_updates(
    curves: Sequence[tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]], stays: Sequence[bool]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "n m"]]:
    """The values of n curves at the updates at which any of them has one.

    Between two of its updates a curve has the value of the earlier one.

    Args:
      curves: updates, in ascending order, and values.
      stays: for each curve, whether it keeps its last value after its last update, as that of a
        seed that stopped early and keeps its parameters; if not, it has no value there.

    Returns:
      Updates, and the values of every curve at them, nan where it has none.

    >>> import numpy as np
    >>> curves = [(np.array([10.0, 20]), np.array([0.5, 0.4])), (np.array([30.0]), np.array([0.1]))]
    >>> updates, values = on_common_updates(curves, [True, True])
    >>> updates.tolist(), values.tolist()
    ([10.0, 20.0, 30.0], [[0.5, 0.4, 0.4], [nan, nan, 0.1]])
    """
    updates = np.unique(np.concatenate([np.array([]), *(at for at, _ in curves)]))
    values = np.full((len(curves), len(updates)), np.nan)
    for row, (at, series), stay in zip(values, curves, stays, strict=True):
        if len(at):
            last = np.searchsorted(at, updates, side="right") - 1
            known = (last >= 0) & (stay | (updates <= at[-1]))
            row[known] = series[last[known]]
    return updates, values
