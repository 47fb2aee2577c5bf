"""DropConnect of the recurrent weights: one mask for a whole sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.step_rng import check_rate, child_key, drop, own_key
from lstm_jax.transforms.transform import AnyCell, Transform, sample_params
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import PRNGKey, PyTree


def weight_drop(
    cell: AnyCell, rate: float, *, names: Sequence[str] = ("recurrent_kernel",)
) -> AnyCell:
    """DropConnect: ``U <- m * U / (1 - rate)``, one mask for all steps and rows of a call.

    The mask is drawn once, before the loop, so its cost is negligible. Without a key nothing is
    dropped.

    Args:
      cell: any cell; in a stack or transform each array has its own mask.
      rate: probability of a zero.
      names: fields of the parameters to drop.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when `rate` is not a probability, or no parameter has one of the names.

    Reference:
      Merity, Keskar & Socher (2018), *Regularizing and optimizing LSTM language models*; Wan et al.
      (2013), *Regularization of neural networks using DropConnect*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.weight_drop(lj.LSTM(3, 5), 0.5)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 3))
    >>> first, again = (lj.unroll(cell, params, xs, key=jax.random.key(1))[1] for _ in range(2))
    >>> bool(jnp.array_equal(first, again))
    True
    """
    check_is_cell("weight_drop", cell)
    check_rate("weight_drop", "rate", rate)
    names = (names,) if isinstance(names, str) else tuple(names)
    fields = {_name(path) for path, _ in _with_paths(param_shapes(cell))}
    if missing := [name for name in names if name not in fields]:
        raise ValueError(
            f"weight_drop: names must be fields of the parameters, {sorted(fields)}; got {missing}"
        )
    return WeightDrop(cell, float(rate), names)


@dataclass(frozen=True, repr=False)
class WeightDrop(Transform):
    """The result of `weight_drop`."""

    draws: ClassVar[bool] = True

    cell: AnyCell
    rate: float
    names: tuple[str, ...] = ("recurrent_kernel",)

    def sample_params(self, params: PyTree, key: PRNGKey) -> PyTree:
        """The parameters with the named arrays dropped."""
        own = own_key(key)
        leaves = [
            drop(jax.random.fold_in(own, k), self.rate, leaf) if _name(path) in self.names else leaf
            for k, (path, leaf) in enumerate(_with_paths(params))
        ]
        dropped = jax.tree.unflatten(jax.tree.structure(params), leaves)
        return sample_params(self.cell, dropped, child_key(key, 0))


def _with_paths(params: PyTree) -> list[tuple[tuple[Any, ...], Any]]:
    return jax.tree_util.tree_leaves_with_path(params)


def _name(path: tuple[Any, ...]) -> str:
    """The last part of the path to an array: a field, a key of a dict, or a position."""
    return jax.tree_util.keystr(path[-1:], simple=True) if path else ""
