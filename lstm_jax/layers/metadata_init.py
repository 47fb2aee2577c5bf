"""Initializers that return arrays with metadata, as those of Flax may."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.copies import Copyable
from lstm_jax.types import DType, PRNGKey


@dataclass(frozen=True, repr=False)
class MetadataInit(Copyable):
    """An initializer that returns plain arrays, made of one that may return metadata as well.

    A cell needs plain arrays to concatenate its parameters; the layer reads the metadata from here
    afterwards. Two of them are equal if their initializers are, so that cells stay comparable.

    Args:
      init: any initializer.
      split: splits a value of `init` into the array and its metadata, None for none.

    >>> boxed = lambda key, shape, dtype: ("ours", jnp.ones(shape, dtype))
    >>> init = MetadataInit(boxed, lambda value: value[::-1])
    >>> init(jax.random.key(0), (2,)).tolist(), init.metadata
    ([1.0, 1.0], 'ours')
    """

    init: Any
    split: Callable[[Any], tuple[jax.Array, Any]]
    _last: list[Any] = field(default_factory=list, init=False, compare=False)

    def __call__(self, key: PRNGKey, shape: Sequence[int], dtype: DType = jnp.float32) -> jax.Array:
        """Draw an array, and keep its metadata.

        Args:
          key: typed random key.
          shape: shape of the array.
          dtype: dtype of the array.

        Returns:
          The array.
        """
        array, metadata = self.split(self.init(key, shape, dtype))
        self._last[:] = [metadata]
        return array

    def __repr__(self) -> str:
        return getattr(self.init, "__name__", repr(self.init))

    @property
    def metadata(self) -> Any:
        """The metadata of the last array; None for none."""
        return self._last[0] if self._last else None

    @property
    def __wrapped__(self) -> Any:
        return self.init
