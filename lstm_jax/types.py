"""The axis letters and the types that all modules share.

Axis letters, the same in every signature and docstring:

====== =======================================
``T``  time steps
``B``  batch
``I``  input features
``H``  hidden units
``P``  units of a projection
``L``  layers
``...`` any number of batch axes, none included
====== =======================================

Time is axis 0 of every sequence; features are the last axis.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

PRNGKey = Key[Array, ""]
"""A typed key, as made by `jax.random.key`."""

DType = Any
"""Anything JAX accepts as a dtype: ``jnp.float32``, ``"bfloat16"``, ``np.dtype``."""

PyTree = Any
"""Arrays in any nesting of tuples, lists, dicts and NamedTuples."""


class LSTMParams(NamedTuple):
    """Parameters of the LSTM; gate blocks in the order i, f, g, o along the last axis.

    Attributes:
      kernel: input kernel ``[I, 4H]``.
      recurrent_kernel: recurrent kernel ``[H, 4H]``.
      bias: bias ``[4H]``, the forget-gate bias included.
    """

    kernel: Float[Array, "I 4*H"]
    recurrent_kernel: Float[Array, "H 4*H"]
    bias: Float[Array, " 4*H"]


class LSTMState(NamedTuple):
    """State of the LSTM. A plain ``(h, c)`` works as well.

    Attributes:
      h: hidden state ``[..., H]``, the output.
      c: cell state ``[..., H]``, the memory.
    """

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]


def check_size(function: str, name: str, size: Any) -> None:
    """Raise unless `size` is an integer of at least 1.

    >>> check_size("LSTM", "hidden_size", 0)
    Traceback (most recent call last):
    ValueError: LSTM: hidden_size must be at least 1; got 0
    """
    try:
        operator.index(size)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer; got {size!r}") from None
    if size < 1:
        raise ValueError(f"{function}: {name} must be at least 1; got {size}")


def promote_dtypes(a: DType, b: DType) -> DType:
    """The promoted dtype of two dtypes, also under JAX's strict dtype promotion.

    >>> promote_dtypes(jnp.bfloat16, jnp.float32)
    dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(a, b)


def in_float(array: Any, dtype: DType) -> Any:
    """An array of integers or booleans in `dtype`, where that is a floating-point dtype.

    >>> in_float(jnp.array([True, False]), jnp.float32).tolist()
    [1.0, 0.0]
    """
    given = jnp.result_type(array)
    if jnp.issubdtype(dtype, jnp.floating) and (
        given == jnp.bool_ or jnp.issubdtype(given, jnp.integer)
    ):
        return jnp.asarray(array).astype(dtype)
    return array


@dataclass(frozen=True)
class Policy:
    """The dtypes of a cell. The default of each field follows from the others.

    ============== ================================================ ===========================
    field          used for                                         default
    ============== ================================================ ===========================
    ``param``      parameters, and their gradients summed over time float32
    ``compute``    the two factors of every product with a weight   ``param``
    ``cell_state`` the memory ``c`` (with n and m where the cell    ``compute``, float32 at least
                   has them), the sums of products, and the gates
    ``output``     the hidden state ``h``, which is the output      ``compute``
    ============== ================================================ ===========================

    A plain dtype in a cell's field ``dtype`` means ``Policy(param=dtype)``.

    Raises:
      TypeError: when a field is not a floating-point dtype.

    Reference:
      Micikevicius et al. (2018), *Mixed precision training*.

    >>> Policy(compute=jnp.bfloat16)
    Policy(param='float32', compute='bfloat16', cell_state='float32', output='bfloat16')
    """

    param: DType = jnp.float32
    compute: DType = None
    cell_state: DType = None
    output: DType = None

    def __post_init__(self) -> None:
        param = jnp.dtype(self.param)
        compute = param if self.compute is None else jnp.dtype(self.compute)
        if self.cell_state is None:
            cell_state = promote_dtypes(compute, jnp.float32)
        else:
            cell_state = jnp.dtype(self.cell_state)
        output = compute if self.output is None else jnp.dtype(self.output)
        for name, dtype in zip(_POLICY, (param, compute, cell_state, output), strict=True):
            if not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(f"Policy: {name} must be a floating-point dtype; got {dtype}")
            object.__setattr__(self, name, dtype)

    def __repr__(self) -> str:
        dtypes = (f"{name}={getattr(self, name).name!r}" for name in _POLICY)
        return f"Policy({', '.join(dtypes)})"


_POLICY = tuple(Policy.__dataclass_fields__)


P = TypeVar("P")
S = TypeVar("S")

Initializer = Callable[[PRNGKey, Sequence[int], DType], jax.Array]
"""``(key, shape, dtype) -> array``, as in `jax.nn.initializers`."""

Step = Callable[[P, S, Any], S]
"""One time step as a pure function: ``(params, state, x) -> state``."""


@runtime_checkable
class Cell(Protocol[P, S]):
    """A recurrent cell: a frozen dataclass of hyper-parameters with three pure functions.

    A cell has no arrays. It is hashable and comparable, so that it can be a static argument of
    `jax.jit`. The first field of its state is the output.
    """

    def init(self, key: PRNGKey) -> P:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          A pytree of arrays.
        """
        ...

    def initial_state(self, batch_shape: Sequence[int] = ()) -> S:
        """The state before the first step.

        Args:
          batch_shape: the batch axes.

        Returns:
          A pytree of arrays ``[*batch_shape, ...]``; a tuple whose first field is the output.
        """
        ...

    def step(self, params: P, state: S, x: Any, /) -> S:
        """Advance one time step.

        Args:
          params: the parameters, as `init` draws them.
          state: ``s_{t-1}``, as `initial_state` returns it.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          ``s_t``, with the structure, shapes and dtypes of `state`.

        Raises:
          ValueError: when the shapes do not fit together.
        """
        ...
