"""Connections around a cell: its input becomes a part of its output."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng
from lstm_jax.transforms.transform import (
    AnyCell,
    SequenceCall,
    Transform,
    apply,
    input_size,
    output_of,
    output_size,
)
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import PRNGKey, PyTree, promote_dtypes


def residual(cell: AnyCell) -> AnyCell:
    """A residual connection: ``y_t = x_t + h_t``.

    Args:
      cell: any cell with as many output features as input features.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when the sizes differ.

    Reference:
      He et al. (2016), *Deep residual learning for image recognition*; Wu et al. (2016), *Google's
      neural machine translation system* (between LSTM layers).

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.LSTM(3, 5), lj.residual(lj.LSTM(5, 5)))
    >>> lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))[1].shape
    (7, 5)
    """
    check_is_cell("residual", cell)
    inputs, outputs = input_size(cell), output_size(cell)
    if inputs is not None and outputs is not None and inputs != outputs:
        raise ValueError(
            f"residual: cell must have as many output features as input features; got {inputs} in"
            f" and {outputs} out (`skip` concatenates them instead of adding)"
        )
    return Residual(cell, "add")


def skip(cell: AnyCell) -> AnyCell:
    """A skip connection: ``y_t = [x_t, h_t]``, so that the next layer reads both.

    Args:
      cell: any cell.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.

    Reference:
      Graves (2013), *Generating sequences with recurrent neural networks*; Huang et al. (2017),
      *Densely connected convolutional networks*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.skip(lj.LSTM(3, 5)), lj.LSTM(8, 4))
    >>> lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))[1].shape
    (7, 4)
    """
    check_is_cell("skip", cell)
    return Residual(cell, "concat")


@dataclass(frozen=True, repr=False)
class Residual(Transform):
    """The result of `residual` ("add") and of `skip` ("concat")."""

    cell: AnyCell
    merge: Literal["add", "concat"] = "add"

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and merge the input and the output."""
        new, y = apply(self.cell, params, state, x, child_rng(rng))
        return new, self._merged(x, y)

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The merged output of a state that no step has computed."""
        return self._merged(x, output_of(self.cell, state, x))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll the cell over the whole sequence, and merge its inputs and outputs."""
        final, ys, states = call.unroll_child(self.cell, params, xs, state, child_key(key, 0))
        return final, self._merged(call.zero_masked(xs), ys), states

    def _merged(self, x: jax.Array, y: jax.Array) -> jax.Array:
        if isinstance(y, tuple | list | dict):
            raise TypeError(
                f"{'residual' if self.merge == 'add' else 'skip'}: cell must return one array;"
                f" {self.cell} returns {jax.tree.structure(y)}"
            )
        x, y = jnp.asarray(x), jnp.asarray(y)
        dtype = promote_dtypes(x.dtype, y.dtype)
        if self.merge == "add":
            return x.astype(dtype) + y.astype(dtype)
        return jnp.concatenate([x.astype(dtype), y.astype(dtype)], axis=-1)

    @property
    def output_size(self) -> int | None:
        """Number of output features, or None where it is not known."""
        inputs, outputs = input_size(self.cell), output_size(self.cell)
        if self.merge == "add" or outputs is None:
            return outputs
        return None if inputs is None else inputs + outputs
