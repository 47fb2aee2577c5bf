"""What all cells share: their base, how they check what they are given, and how they print."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.cells.checks import check_shapes, check_size
from lstm_jax.types import DType, Initializer, LSTMState, Policy, PRNGKey, promote_dtypes

N = TypeVar("N", bound=NamedTuple)
Tree = TypeVar("Tree")

Activation = Callable[[jax.Array], jax.Array]
"""An elementwise function, such as `jnp.tanh`."""


def identity(x: jax.Array) -> jax.Array:
    """The activation that changes nothing.

    >>> identity(2.0)
    2.0
    """
    return x


class CellBase:
    """Base of the frozen dataclasses that are cells: sizes are checked, dtypes settled, repr short.

    A subclass has the field ``dtype``, and integer fields that end in ``_size``.
    """

    dtype: DType | Policy

    def __post_init__(self) -> None:
        settle_fields(self)

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def policy(self) -> Policy:
        """Which dtype is used for what."""
        return self.dtype if isinstance(self.dtype, Policy) else Policy(self.dtype)

    def in_compute_dtype(self, params: Tree) -> Tree:
        """Parameters as a step multiplies with them: as they are, unless a policy says otherwise.

        Cast in the step, not before the loop: then the gradients of the steps add up in the
        parameters' own dtype, which is often the wider one.
        """
        if not isinstance(self.dtype, Policy):
            return params
        return jax.tree.map(lambda leaf: leaf.astype(self.policy.compute), params)


@dataclass(frozen=True, repr=False)
class KernelCell(CellBase):
    """Base of cells that weigh the input by one kernel and the state by another, and add a bias.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, kH]`` for ``k`` gates.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, kH]``.
      bias_init: initializer of the bias ``[kH]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.
    """

    input_size: int
    hidden_size: int
    kernel_init: Initializer = initializers.lecun_normal
    recurrent_kernel_init: Initializer = initializers.orthogonal_per_gate
    bias_init: Initializer = initializers.zeros
    dtype: DType | Policy = jnp.float32

    def init_kernels(
        self, key: PRNGKey, gates: int, recurrent_size: int | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Kernel ``[I, kH]``, recurrent kernel ``[H, kH]`` and bias ``[kH]`` of ``k`` gates.

        `recurrent_size` is given where another number of units than ``H`` feeds back.
        """
        k_kernel, k_recurrent, k_bias = jax.random.split(key, 3)
        width, dtype = gates * self.hidden_size, self.policy.param
        return (
            self.kernel_init(k_kernel, (self.input_size, width), dtype),
            self.recurrent_kernel_init(
                k_recurrent, (recurrent_size or self.hidden_size, width), dtype
            ),
            self.bias_init(k_bias, (width,), dtype),
        )


class LSTMCellBase(KernelCell):
    """Base of the cells whose state is ``(h, c)``, both ``[..., H]``."""

    def initial_state(self, batch_shape: Sequence[int] = ()) -> LSTMState:
        """Zeros for h and c.

        Args:
          batch_shape: the batch axes.

        Returns:
          `LSTMState`, each ``[*batch_shape, H]``, c in float32 at least unless the policy says so.
        """
        shape = (*batch_shape, self.hidden_size)
        return LSTMState(
            h=jnp.zeros(shape, self.policy.output), c=jnp.zeros(shape, self.policy.cell_state)
        )

    def pre_activations(
        self, function: str, params: Tree, state: Any, x: Any, *, gates: int
    ) -> tuple[Tree, LSTMState, list[jax.Array]]:
        """What the gates squash, once everything fits together: ``W x + R h_{t-1} + b``.

        Args:
          function: the public function to name in errors.
          params: kernel ``[I, kH]``, recurrent_kernel ``[H, kH]``, bias ``[kH]``, and others.
          state: ``(h_{t-1}, c_{t-1})``, each ``[..., H]``.
          x: input ``x_t`` ``[..., I]``.
          gates: the number ``k`` of gate blocks.

        Returns:
          The parameters as a step multiplies with them, the state as arrays, and ``k`` blocks
          ``[..., H]`` in the wider dtype of the kernel and ``c``.

        Raises:
          TypeError, ValueError: as `as_state` and `check_shapes`.
        """
        state, x = as_state(function, LSTMState, state), jnp.asarray(x)
        check_shapes(function, params, state, x, gates=gates)
        params = self.in_compute_dtype(params)
        z = affine(params, state.h, x, state.c.dtype)
        return params, state, jnp.split(z, gates, axis=-1)


def project(
    x: Float[Array, "... n"], kernel: Float[Array, "n m"], dtype: DType
) -> Float[Array, "... m"]:
    """``x @ kernel``: multiplied in the kernel's dtype, accumulated in `dtype`.

    >>> project(jnp.ones(2, jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16), jnp.float32).dtype
    dtype('float32')
    """
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=dtype)


def affine(
    params: Any, h_tm1: Float[Array, "... H"], x: Float[Array, "... I"], dtype: DType
) -> Float[Array, "... k*H"]:
    """What is squashed: ``W x_t + R h_{t-1} + b``.

    Products run in the kernel's dtype and accumulate in the wider dtype of the two, in which the
    nonlinearities run as well: bfloat16 products, float32 cell state.

    >>> from lstm_jax import LSTM
    >>> params = LSTM(3, 5, dtype=jnp.bfloat16).init(jax.random.key(0))
    >>> affine(params, jnp.zeros(5), jnp.zeros(3), jnp.float32).dtype
    dtype('float32')
    """
    dtype = promote_dtypes(params.kernel.dtype, dtype)
    return (
        project(x, params.kernel, dtype)
        + project(h_tm1, params.recurrent_kernel, dtype)
        + params.bias.astype(dtype)
    )


def clipped(values: jax.Array, bound: float | None) -> jax.Array:
    """Values kept within ``-bound`` and ``bound``, or as they are without one.

    >>> clipped(jnp.array([-2.0, 0.5]), 1.0).tolist()
    [-1.0, 0.5]
    """
    return values if bound is None else jnp.clip(values, -bound, bound)


def settle_fields(cell: Any) -> None:
    """Check the sizes of a new cell and give its dtype one spelling, so that equal cells are equal.

    Args:
      cell: a frozen dataclass with integer fields that end in ``_size``, and a field ``dtype``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    >>> from lstm_jax import LSTM, Policy
    >>> LSTM(3, 5, dtype="float32") == LSTM(3, 5) == LSTM(3, 5, dtype=Policy("float32"))
    True
    """
    for field in dataclasses.fields(cell):
        if field.name.endswith("_size"):
            check_size(type(cell).__name__, field.name, getattr(cell, field.name))
    dtype = cell.dtype
    if isinstance(dtype, Policy) and dtype == Policy(dtype.param):
        dtype = dtype.param
    if not isinstance(dtype, Policy):
        dtype = jnp.dtype(dtype)
    object.__setattr__(cell, "dtype", dtype)


def as_state(function: str, kind: type[N], state: Any) -> N:
    """A state of arrays from a tuple or list of its fields.

    Args:
      function: the public function to name in errors.
      kind: the NamedTuple to make.
      state: the fields in order.

    Returns:
      A `kind` of arrays.

    Raises:
      TypeError: when `state` is no such tuple. An array is none: it would come apart along its
        first axis.

    >>> from lstm_jax import LSTMState
    >>> as_state("lstm_step", LSTMState, jnp.zeros((2, 5)))
    Traceback (most recent call last):
    TypeError: lstm_step: state must be a tuple (h, c); got an array of shape (2, 5)
    """
    if not isinstance(state, tuple | list) or len(state) != len(kind._fields):
        if isinstance(state, tuple | list):
            got = f"a {type(state).__name__} of {len(state)}"
        elif hasattr(state, "shape"):
            got = f"an array of shape {state.shape}"
        else:
            got = type(state).__name__
        wanted = str(kind._fields).replace("'", "")
        raise TypeError(f"{function}: state must be a tuple {wanted}; got {got}")
    return kind._make(map(jnp.asarray, state))


def short_repr(cell: Any) -> str:
    """A cell as it would be written: the sizes, and what is not as by default.

    >>> from lstm_jax import LSTM, initializers
    >>> LSTM(3, 5, bias_init=initializers.Chrono(100))
    LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100))
    """
    shown = []
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            shown.append(f"{field.name}={_written(value)}")
    return f"{type(cell).__name__}({', '.join(shown)})"


def _written(value: Any) -> str:
    if isinstance(value, np.dtype):
        return repr(value.name)
    if dataclasses.is_dataclass(value) or not callable(value):
        return repr(value)
    return getattr(value, "__name__", repr(value))
