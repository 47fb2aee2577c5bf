"""Initializers whose values come in boxes with metadata, as Flax's do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.types import DType, PRNGKey


@dataclass(frozen=True, repr=False)
class Unboxed:
    """An initializer of arrays, from one that may give them in boxes with metadata.

    A cell puts its parameters together from arrays, so the box waits here for the layer. Equal
    where the initializers are, as cells must be, whatever has been drawn.

    Args:
      init: any initializer.
      opened: from what it gives, the array, and the box (or what is said of it), None for none.

    >>> boxed = lambda key, shape, dtype: ("ours", jnp.ones(shape, dtype))
    >>> init = Unboxed(boxed, lambda value: value[::-1])
    >>> init(jax.random.key(0), (2,)).tolist(), init.box
    ([1.0, 1.0], 'ours')
    """

    init: Any
    opened: Callable[[Any], tuple[jax.Array, Any]]
    _last: list[Any] = field(default_factory=list, init=False, compare=False)

    def __call__(self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32) -> jax.Array:
        """Draw an array, and keep the box.

        Args:
          key: typed random key.
          shape: what the initializer takes.
          dtype: dtype of the result.

        Returns:
          The array.
        """
        array, box = self.opened(self.init(key, shape, dtype))
        self._last[:] = [box]
        return array

    def __repr__(self) -> str:
        return getattr(self.init, "__name__", repr(self.init))

    @property
    def box(self) -> Any:
        """The box that the last value came in; None for none."""
        return self._last[0] if self._last else None

    @property
    def __wrapped__(self) -> Any:
        return self.init
