"""The shapes everything is written in, and the types that pass between rooms.

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
    """What the LSTM carries from one step to the next. A plain ``(h, c)`` works as well.

    Attributes:
      h: hidden state ``[..., H]``, the one that layers show.
      c: cell state ``[..., H]``, the conveyor belt.
    """

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]


def promote_dtypes(a: DType, b: DType) -> DType:
    """The dtype that holds both, asked for outright: strict promotion does not refuse it.

    >>> promote_dtypes(jnp.bfloat16, jnp.float32)
    dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(a, b)


@dataclass(frozen=True)
class Policy:
    """Which dtype a cell uses for what. Whatever is not given follows from the others.

    ============== ================================================ ===========================
    field          what has it                                      when not given
    ============== ================================================ ===========================
    ``param``      parameters, and their gradients summed over time float32
    ``compute``    parameters as a step uses them, and what they    ``param``
                   multiply
    ``cell_state`` the memory ``c`` (and what goes with it), in      ``compute``, float32 at least
                   which products accumulate and gates are computed
    ``output``     the hidden state ``h``, which layers show        ``compute``
    ============== ================================================ ===========================

    A bare dtype in a cell's field ``dtype`` stands for ``Policy(param=dtype)``.

    Raises:
      TypeError: when a field is no floating-point dtype.

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
        settled = {"param": jnp.dtype(self.param)}
        settled["compute"] = _or(self.compute, settled["param"])
        settled["cell_state"] = _or(
            self.cell_state, promote_dtypes(settled["compute"], jnp.float32)
        )
        settled["output"] = _or(self.output, settled["compute"])
        for name, dtype in settled.items():
            if not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(f"Policy: {name} must be a floating-point dtype; got {dtype}")
            object.__setattr__(self, name, dtype)

    def __repr__(self) -> str:
        names = ("param", "compute", "cell_state", "output")
        return f"Policy({', '.join(f'{name}={getattr(self, name).name!r}' for name in names)})"


def _or(dtype: DType | None, default: DType) -> DType:
    return default if dtype is None else jnp.dtype(dtype)


P = TypeVar("P")
S = TypeVar("S")

Initializer = Callable[[PRNGKey, Sequence[int], DType], jax.Array]
"""``(key, shape, dtype) -> array``, as in `jax.nn.initializers`."""

Step = Callable[[P, S, Any], S]
"""One time step as a pure function: ``(params, state, x) -> state``."""


@runtime_checkable
class Cell(Protocol[P, S]):
    """A recurrence: hyper-parameters in frozen fields, and three pure functions.

    A cell holds no arrays. It is hashable and comparable, so that it can be a static argument
    of `jax.jit`. The first field of its state is what a layer shows.
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
          params: what `init` draws.
          state: ``s_{t-1}``, as `initial_state` gives it.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          ``s_t``, with the structure, shapes and dtypes of `state`.

        Raises:
          ValueError: when the shapes do not fit together.
        """
        ...
