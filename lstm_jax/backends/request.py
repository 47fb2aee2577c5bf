"""What a backend computes, and what a backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from lstm_jax.masks import forward_fill, zero_masked
from lstm_jax.options import DEFAULTS, Options
from lstm_jax.sharding import is_sharded, match_types
from lstm_jax.transforms.transform import initial_state, output_of
from lstm_jax.types import PRNGKey, PyTree

Result = tuple[PyTree, PyTree, PyTree]
"""``(final state, outputs, states)``, the last with leaves ``[T, ...]``, or None."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """One cell over one sequence, checked: all arrays, and the options.

    Attributes:
      function: the public function to name in errors.
      cell: any cell.
      params: its parameters, sampled for this sequence.
      xs: inputs, leaves ``[T, ...]``.
      state: the state before the first step.
      key: typed random key, or None where nothing is drawn.
      times: index of every step ``[T]``; None without a key.
      valid: true at valid steps ``[T, ...]``, or None for all.
      reset: true where rows return to the initial state ``[T, ...]``, or None.
      reverse: unroll from the last step to the first.
      options: the options of `unroll`.
      return_states: whether to return every state.
      masked_inputs_are_safe: whether inputs of masked steps are safe already; do not zero them.
      on_mesh: whether the type of an array names a mesh of devices.
      on_select: called with the selected backend of every cell.
    """

    function: str
    cell: Any
    params: PyTree
    xs: PyTree
    state: PyTree
    key: PRNGKey | None = None
    times: jax.Array | None = None
    valid: jax.Array | None = None
    reset: jax.Array | None = None
    reverse: bool = False
    options: Options = DEFAULTS
    return_states: bool = False
    masked_inputs_are_safe: bool = False
    on_mesh: bool = False
    on_select: Callable[[Any], None] | None = None

    @property
    def leaves(self) -> list[jax.Array]:
        """All arrays that a backend reads."""
        arrays = (self.params, self.xs, self.state, self.key, self.valid, self.reset)
        return jax.tree.leaves(arrays)

    def reset_target(self, state: PyTree) -> PyTree:
        """The state that resets return to, with the dtypes and sharding of `state`."""
        if self.reset is None:
            raise ValueError(f"{self.function}: there is no reset")
        own = initial_state(self.cell, self.params, self.reset.shape[1:])
        return match_types(own, jax.tree.map(jax.typeof, state))

    def zero_masked(self, xs: PyTree) -> PyTree:
        """Inputs ``[T, ...]`` with zeros at masked steps."""
        if self.valid is None or self.masked_inputs_are_safe:
            return xs
        return zero_masked(self.valid, xs)

    def hold(self, outputs: PyTree) -> PyTree:
        """Outputs ``[T, ...]`` that repeat the last valid output at masked steps."""
        if self.valid is None or not self.valid.shape[0]:
            return outputs
        return forward_fill(self.valid, outputs, self.initial_output(outputs), reverse=self.reverse)

    def initial_output(self, outputs: PyTree) -> PyTree:
        """The output of the state before the first step, as outputs ``[T, ...]`` are."""
        x_1, y_1 = jax.eval_shape(
            lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), (self.xs, outputs)
        )
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), x_1)
        return match_types(output_of(self.cell, self.state, zeros), y_1)


class Backend(Protocol):
    """A way to unroll a cell over a sequence; each is a module.

    Attributes:
      OPTIONS: the options that it supports; with another one given, the scan runs.
    """

    OPTIONS: frozenset[str]

    def unsupported_cell_reason(self, cell: Any) -> str | None:
        """Why it never runs the cell on this machine, or None."""
        ...

    def unsupported_reason(self, request: Request) -> str | None:
        """Why it does not support the request, or None."""
        ...

    def not_preferred_reason(self) -> str | None:
        """Why it runs only where `implementation` names it, or None."""
        ...

    def compute(self, request: Request) -> Result:
        """The result of a request that it supports."""
        ...


def explicit_mesh_reason(request: Request) -> str | None:
    """Why a backend with its own gradient does not support sharded arrays, or None."""
    explicit = request.on_mesh and any(map(is_sharded, request.leaves))
    return "arrays are sharded over a mesh with explicit axes" if explicit else None


def symbolic_size_reason(request: Request) -> str | None:
    """Why a backend with its own gradient does not support symbolic sizes, or None."""
    known = all(isinstance(size, int) for leaf in request.leaves for size in leaf.shape)
    return None if known else "its sizes must be numbers; some are symbolic"


def platform() -> str:
    """The platform of the default device: ``cpu``, ``gpu`` or ``tpu``.

    >>> platform() in ("cpu", "gpu", "tpu")
    True
    """
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
