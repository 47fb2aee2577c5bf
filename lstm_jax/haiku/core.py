"""A step as a Haiku module, for Haiku's own loops."""

import operator
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
from jaxtyping import Array, Float

from lstm_jax.haiku.params import module_params, step_key
from lstm_jax.layers import advance_layer, cell_for, with_checked_names
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.transforms.transform import AnyCell, initial_state
from lstm_jax.types import PyTree


class RNNCore(hk.RNNCore):
    """One step of any cell that has single steps, for `hk.dynamic_unroll` and Haiku's other cores.

    Haiku's loop calls the step; the backends of `lstm_jax.unroll` are used by `Recurrent` alone. A
    random number is drawn from the key that Haiku has for a step: even a mask that belongs to a
    whole sequence, as in `lstm_jax.recurrent_dropout`, is drawn at every step.

    Args:
      cell: any cell.
      deterministic: whether no random numbers are drawn. Otherwise, a cell that draws them needs
        the ``rng`` of ``apply``.
      name: name of the module.

    Raises:
      TypeError: when `cell` is not a cell.

    Reference:
      Hennigan, Cai, Norman, Martens & Babuschkin (2020), *Haiku: Sonnet for JAX*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> def network(xs):
    ...     core = hk.DeepRNN([RNNCore(lj.GRU(3, 5)), jax.nn.relu, RNNCore(lj.LSTM(5, 4))])
    ...     return hk.dynamic_unroll(core, xs, core.initial_state(2))[0]
    >>> params = hk.transform(network).init(jax.random.key(0), jnp.ones((7, 2, 3)))
    >>> list(params)
    ['rnn_core', 'rnn_core_1']
    """

    # Haiku's own repr refuses an unknown argument before the nearest one can be named.
    AUTO_REPR = False

    def __init__(self, cell: AnyCell, deterministic: bool = False, name: str | None = None) -> None:
        super().__init__(name=name)
        # Haiku asks for the initial state before the first input, so the sizes must be known.
        self.cell = cell_for(type(self).__name__, cell, None)
        self.deterministic = deterministic

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cell!r})"

    def __call__(self, inputs: PyTree, prev_state: PyTree) -> tuple[Float[Array, "... H"], PyTree]:
        """One step.

        Args:
          inputs: ``x_t`` ``[..., I]``.
          prev_state: ``s_{t-1}``; for an LSTM ``(h, c)``.

        Returns:
          ``(y_t, s_t)``, the new state in the structure of the old one.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        key = step_key(self.cell, self.deterministic)
        params = module_params(self.cell, type(self).__name__)
        state, y = advance_layer(self.cell, params, prev_state, inputs, key)
        return y, state

    def initial_state(self, batch_size: int | tuple[int, ...] | None) -> Any:
        """The state before the first step; a learned one reads the parameters, others read none.

        Args:
          batch_size: number of rows, or the sizes of several batch axes; None for none.

        Returns:
          The state, with leaves ``[batch_size, ...]``.

        Raises:
          TypeError, ValueError: when `batch_size` is something else, or negative.
        """
        cell, rows = self.cell, _rows(type(self).__name__, batch_size)
        learned = _reads_params(lambda params: initial_state(cell, params, rows), cell)
        params = module_params(cell, type(self).__name__) if learned else None
        return initial_state(cell, params, rows)


with_checked_names(RNNCore)


def _rows(name: str, batch_size: Any) -> tuple[int, ...]:
    """The sizes of the batch axes.

    >>> _rows("RNNCore", None), _rows("RNNCore", 2), _rows("RNNCore", (2, 3))
    ((), (2,), (2, 3))
    """
    sizes = () if batch_size is None else batch_size
    try:
        rows = tuple(map(operator.index, sizes if isinstance(sizes, tuple | list) else (sizes,)))
    except TypeError:
        raise TypeError(
            f"{name}.initial_state: batch_size must be an integer, a tuple of integers or None;"
            f" got {batch_size!r}"
        ) from None
    if any(size < 0 for size in rows):
        raise ValueError(f"{name}.initial_state: batch_size must not be negative; got {batch_size}")
    return rows


def _reads_params(function: Callable[[PyTree], PyTree], cell: AnyCell) -> bool:
    """Whether the result of a function depends on the parameters of a cell."""
    jaxpr = jax.make_jaxpr(function)(param_shapes(cell)).jaxpr
    read = [*jaxpr.outvars, *(var for eqn in jaxpr.eqns for var in eqn.invars)]
    return any(var is param for var in read for param in jaxpr.invars)
