"""The base classes of the cells, and the functions that their steps are made of.

A cell of the LSTM family is a subclass of `LSTMCellBase` with its parameters, its number of gate
blocks, and one method `equations`. Everything else is here: initialization, checks, the affine
pre-activations, and dtypes.
"""

import dataclasses
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax import initializers
from lstm_jax.arrays import as_array, check_arrays
from lstm_jax.cells.arguments import Shapes, as_params, as_state, check_step
from lstm_jax.cells.short_repr import short_repr
from lstm_jax.copies import Copyable
from lstm_jax.did_you_mean import unknown_arguments
from lstm_jax.types import (
    DType,
    Initializer,
    LSTMState,
    P,
    Policy,
    PRNGKey,
    S,
    check_size,
    promote_dtypes,
)

G = TypeVar("G", bound=NamedTuple)
Tree = TypeVar("Tree")

Activation = Callable[[jax.Array], jax.Array]
"""An elementwise function, such as `jnp.tanh`."""

Pair = LSTMState | tuple[jax.Array, jax.Array]
"""The state ``(h, c)``, of any tuple type."""


def identity(x: jax.Array) -> jax.Array:
    """The identity function, the default of every hook.

    >>> identity(2.0)
    2.0
    """
    return x


class _SignatureOfInit:
    """The signature of a class, for `inspect`: that of its `__init__`, as without a `__new__`."""

    def __get__(self, cell: Any, kind: type[Any]) -> inspect.Signature:
        signature = inspect.signature(kind.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class CellBase(Copyable, ABC):
    """Base of all cells, which are frozen dataclasses: checked sizes, settled dtypes, a short repr.

    A subclass has the field ``dtype``, and integer fields that end in ``_size``.

    Attributes:
      params_type: the NamedTuple of the parameters.
      state_type: the NamedTuple of the state; its first field is the output.
    """

    params_type: ClassVar[type[Any]]
    state_type: ClassVar[type[Any]]
    dtype: DType | Policy

    if not TYPE_CHECKING:  # type checkers read the fields
        __signature__ = _SignatureOfInit()

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            """A new cell; an argument that there is not is an error with the one that was meant."""
            if not kwargs.keys() <= cls.__dataclass_fields__.keys():
                _check_arguments(cls, kwargs)
            return object.__new__(cls)

    def __post_init__(self) -> None:
        for name in _size_fields(type(self)):
            check_size(type(self).__name__, name, getattr(self, name))
        dtype = self.dtype
        if isinstance(dtype, Policy) and dtype == Policy(dtype.param):
            dtype = dtype.param  # one form for equal policies, so that equal cells compare equal
        if not isinstance(dtype, Policy):
            dtype = jnp.dtype(dtype)
        object.__setattr__(self, "dtype", dtype)

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def policy(self) -> Policy:
        """The dtypes of parameters, products, cell state and output."""
        return self.dtype if isinstance(self.dtype, Policy) else Policy(self.dtype)

    def in_compute_dtype(self, params: Tree) -> Tree:
        """The parameters, cast to the policy's compute dtype where the cell has a policy.

        The cast is in the step, not before the loop, so that the gradients of the steps add up in
        the parameters' own dtype, which often has more precision.
        """
        if not isinstance(self.dtype, Policy):
            return params
        dtype = self.dtype.compute
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    @abstractmethod
    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step with these parameters expects."""

    def checked(self, function: str, params: Any, state: Any, x: Any) -> tuple[Any, Any, jax.Array]:
        """The arguments of one step, once they fit together.

        Args:
          function: the public function to name in errors.
          params: `params_type`, or a mapping with its names.
          state: the fields of `state_type` in order, or a mapping; the array where it has one.
          x: input ``x_t``.

        Returns:
          ``(params, state, x)``, in the cell's own types.

        Raises:
          TypeError, ValueError: as `check_arrays`, `as_state` and `check_step`.
        """
        params, state, x = check_arrays(function, params=params, state=state, x=x)
        params = as_params(self.params_type, params)
        state = as_state(function, self.state_type, state, self.policy)
        x = x if isinstance(x, jax.Array) else jnp.asarray(as_array(function, "x", x))
        check_step(function, params, state, x, self.shapes(params))
        return params, state, x


@dataclass(frozen=True, repr=False)
class KernelCell(CellBase, Generic[P, S]):
    """Base of cells with one kernel for the input, one for the hidden state, and a bias.

    Args:
      input_size: number of input features ``I``.
      hidden_size: number of hidden units ``H``.
      kernel_init: initializer of the input kernel ``[I, kH]`` for ``k`` gate blocks.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, kH]``.
      bias_init: initializer of the bias ``[kH]``.
      dtype: dtype of the parameters and of ``h``, with ``c`` in float32 at least; or a `Policy`.

    Attributes:
      gate_blocks: the number ``k`` of gate blocks along the last axis of a kernel.
    """

    gate_blocks: ClassVar[int] = initializers.GATES

    input_size: int
    hidden_size: int
    kernel_init: Initializer = initializers.lecun_normal
    recurrent_kernel_init: Initializer = initializers.orthogonal_per_gate
    bias_init: Initializer = initializers.zeros
    dtype: DType | Policy = jnp.float32

    def init(self, key: PRNGKey) -> P:
        """Draw parameters.

        Args:
          key: typed random key.

        Returns:
          The parameters, a NamedTuple of arrays.
        """
        return self._init(key)

    def initial_state(self, batch_shape: Sequence[int] = ()) -> S:
        """Zeros for h, and for c where the cell has one.

        Args:
          batch_shape: the batch axes.

        Returns:
          The state: h ``[*batch_shape, H]``, or ``[*batch_shape, P]`` with a projection, and c
          ``[*batch_shape, H]``, in float32 at least unless the policy sets its dtype.
        """
        policy = self.policy
        state = [jnp.zeros((*batch_shape, self._recurrent_size), policy.output)]
        if "c" in self.state_type._fields:
            state.append(jnp.zeros((*batch_shape, self.hidden_size), policy.cell_state))
        return self.state_type(*state)

    def shapes(self, params: Any) -> Shapes:
        """The shapes that a step expects, where ``I`` and ``H`` are the rows of the two kernels."""
        if not hasattr(params, "kernel"):
            wanted, got = self.params_type.__name__, type(params).__name__
            raise TypeError(f"{type(self).__name__}: params must be {wanted}, of `init`; got {got}")
        I, *_ = (*getattr(params.kernel, "shape", ()), 0)  # noqa: E741
        H, *_ = (*getattr(params.recurrent_kernel, "shape", ()), 0)
        k, axis = self.gate_blocks, f"{self.gate_blocks}H" if self.gate_blocks > 1 else "H"
        return Shapes(
            params={
                "kernel": ((I, k * H), f"[I, {axis}]"),
                "recurrent_kernel": ((H, k * H), f"[H, {axis}]"),
                "bias": ((k * H,), f"[{axis}]"),
            },
            x=((I,), "I"),
            state=dict.fromkeys(self.state_type._fields, ((H,), "H")),
            sizes=f"H = {H}",
        )

    def pre_activations(
        self, params: Any, h_tm1: Float[Array, "... H"], x: Float[Array, "... I"], dtype: DType
    ) -> Float[Array, "... k*H"]:
        """The pre-activations ``z_t = W x_t + R h_{t-1} + b``.

        Products run in the kernel's dtype. They accumulate in the promoted dtype of the kernel and
        `dtype`, that of the cell state: bfloat16 products, float32 memory.
        """
        dtype = promote_dtypes(params.kernel.dtype, dtype)
        z = project(x, params.kernel, dtype) + project(h_tm1, params.recurrent_kernel, dtype)
        return z + over_rows(params.bias, z)

    def _init(self, key: PRNGKey) -> P:
        """Draw the parameters; overridden by cells with more than two kernels and a bias."""
        return self.params_type(*self._init_kernels(key))

    def _init_kernels(self, key: PRNGKey) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Kernel ``[I, kH]``, recurrent kernel ``[H, kH]``, bias ``[kH]``."""
        k_kernel, k_recurrent, k_bias = jax.random.split(key, 3)
        width, dtype = self.gate_blocks * self.hidden_size, self.policy.param
        return (
            self.kernel_init(k_kernel, (self.input_size, width), dtype),
            self.recurrent_kernel_init(k_recurrent, (self._recurrent_size, width), dtype),
            self.bias_init(k_bias, (width,), dtype),
        )

    @property
    def _recurrent_size(self) -> int:
        """The number of units that feed back: the features of ``h``."""
        return self.hidden_size


class LSTMCellBase(KernelCell[P, LSTMState], Generic[P, G]):
    """Base of the LSTM family, the cells with the state ``(h, c)``.

    A subclass defines `equations`. It overrides `shapes` and ``_init`` where it has other
    parameters than the two kernels and the bias, and `pre_activations` where these are not affine.

    Attributes:
      error_prefix: what precedes "step" and "gates" in errors; the class and a dot when empty.
    """

    state_type = LSTMState
    error_prefix: ClassVar[str] = ""

    def gates(self, params: P, state: Pair, x: Float[Array, "... I"]) -> G:
        """The activations of the gates and the candidate in one step.

        Args:
          params: the parameters, as `init` draws them.
          state: ``(h_{t-1}, c_{t-1})``, as `initial_state` returns it.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          The gates, each ``[..., H]``, in the promoted dtype of the parameters and ``c``.

        Raises:
          TypeError, ValueError: as `step`.
        """
        return self._advance("gates", params, state, x, identity)[1]

    def step(
        self,
        params: P,
        state: Pair,
        x: Float[Array, "... I"],
        *,
        on_candidate: Activation = identity,
    ) -> LSTMState:
        """Advance one time step, by the equations at the top of the cell's file.

        Args:
          params: the parameters, as `init` draws them.
          state: ``(h_{t-1}, c_{t-1})``, as `initial_state` returns it.
          x: input ``x_t`` ``[..., I]``.
          on_candidate: hook, applied to the candidate before it enters the cell state.

        Returns:
          `LSTMState` ``(h_t, c_t)``, with the shapes and dtypes of `state`.

        Raises:
          TypeError: when `state` is not a tuple of two, or an array is complex.
          ValueError: when the shapes of `params`, `state` and `x` do not fit together, or their
            batch axes are not equal.
        """
        return self._advance("step", params, state, x, on_candidate)[0]

    @abstractmethod
    def equations(
        self,
        params: P,
        z: Float[Array, "... k*H"],
        c_tm1: Float[Array, "... H"],
        on_candidate: Activation,
    ) -> tuple[LSTMState, G]:
        """The equations of the cell, from the pre-activations on.

        Args:
          params: the parameters, in the dtype that a step multiplies with.
          z: pre-activations ``[..., kH]``, as `pre_activations` returns them.
          c_tm1: cell state ``c_{t-1}`` ``[..., H]`` in the dtype of `z`.
          on_candidate: hook, applied to the candidate before it enters the cell state.

        Returns:
          ``(h_t, c_t)`` and the gates.
        """

    def _advance(
        self,
        method: str,
        params: P,
        state: Pair,
        x: Float[Array, "... I"],
        on_candidate: Activation,
    ) -> tuple[LSTMState, G]:
        """The new state in the dtypes of the old one, and the gates."""
        function = f"{self.error_prefix or f'{type(self).__name__}.'}{method}"
        params, state, x = self.checked(function, params, state, x)
        params, (h_tm1, c_tm1) = self.in_compute_dtype(params), state
        z = self.pre_activations(params, h_tm1, x, c_tm1.dtype)
        (h_t, c_t), gates = self.equations(params, z, c_tm1.astype(z.dtype), on_candidate)
        return LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype)), gates


@functools.cache
def _size_fields(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a cell that are sizes."""
    return tuple(f.name for f in dataclasses.fields(kind) if f.name.endswith("_size"))


def _check_arguments(cell: type[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise unless a cell is made with these arguments: its fields, or those of its own init."""
    parameters = inspect.signature(cell.__init__).parameters
    if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        error = unknown_arguments(cell.__name__, kwargs, list(parameters)[1:])
        if error is not None:
            raise error


def project(
    x: Float[Array, "... n"], kernel: Float[Array, "n m"], dtype: DType
) -> Float[Array, "... m"]:
    """``x @ kernel``: multiplied in the kernel's dtype, accumulated in `dtype`.

    >>> project(jnp.ones(2, jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16), jnp.float32).dtype
    dtype('float32')
    """
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=dtype)


def over_rows(weights: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Weights that all rows of `z` share: in its dtype, with axes of size 1 for its batch axes.

    >>> over_rows(jnp.ones(5), jnp.zeros((2, 3, 5))).shape
    (1, 1, 5)
    """
    return jax.lax.broadcast_to_rank(jnp.asarray(weights).astype(z.dtype), z.ndim)
