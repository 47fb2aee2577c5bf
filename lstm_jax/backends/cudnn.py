"""The cuDNN backend: a plain LSTM layer over whole sequences on an NVIDIA GPU."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.extend.backend import get_backend
from jaxtyping import Array, Float

from lstm_jax.backends.layer import Layer
from lstm_jax.backends.lowering import Native
from lstm_jax.backends.plain_lstm import array_reason, not_plain_reason
from lstm_jax.backends.primitives import Arrays, filled, reference_gradients, select
from lstm_jax.backends.request import Request, Result, explicit_mesh_reason, platform
from lstm_jax.backends.rule import Rule, Types, call
from lstm_jax.sharding import match_varying_axes
from lstm_jax.types import LSTMState

OPTIONS = frozenset({"padding", "remat", "unroll", "implementation"})


def unsupported_cell_reason(cell: Any) -> str | None:
    """Why it never runs a cell on this machine, or None."""
    if platform() != "gpu":
        return f"it runs on NVIDIA GPUs; the default device is a {platform()}"
    if "cuda" not in get_backend("gpu").platform_version:  # as on ROCm
        return "it runs on NVIDIA GPUs; the default device is another GPU"
    if getattr(importlib.import_module("jax.experimental.rnn"), "gpu_rnn", None) is None:
        return "this build of JAX has no cuDNN LSTM"
    return not_plain_reason(cell)


def unsupported_reason(request: Request) -> str | None:
    """Why it does not support a request, or None."""
    if (reason := unsupported_cell_reason(request.cell)) is not None:
        return reason
    if (reason := array_reason(request)) is not None:
        return reason
    if request.valid is not None or request.reset is not None:
        return "it runs whole sequences only; the call has lengths, a mask or resets"
    if request.return_states:
        return "it does not return the cell states of every step"
    if request.options.remat is not None:
        return f"it keeps every step for a gradient; remat={request.options.remat!r} excludes that"
    params = request.cell.in_compute_dtype(request.params)
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves((params, request.state))}
    if dtypes != {"float32"}:
        return f"it runs float32; parameters and state are {', '.join(sorted(dtypes))}"
    sizes = [size for leaf in request.leaves for size in leaf.shape]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return "its sizes must be numbers above 0"
    return explicit_mesh_reason(request)


def not_preferred_reason() -> str:
    """Why it runs only where it is named."""
    return 'on a GPU the scan is the default; select this with implementation="cudnn"'


def compute(request: Request) -> Result:
    """Unroll a plain LSTM by cuDNN."""
    x, (h, c) = request.xs, request.state
    (T, *rows, features), B = x.shape, math.prod(x.shape[1:-1])
    H = h.shape[-1]
    args = [
        x.astype(h.dtype).reshape(T, B, features),
        *request.cell.in_compute_dtype(request.params),
        *(each.reshape(B, H) for each in (h, c)),
    ]
    ys, h_T, c_T = call(CudnnLayer(reverse=request.reverse), *match_varying_axes(args))
    final = LSTMState(h_T.reshape(*rows, H), c_T.reshape(*rows, H))
    return final, ys.reshape(T, *rows, H), None


def packed(
    kernel: Float[Array, "I 4*H"],
    recurrent_kernel: Float[Array, "H 4*H"],
    bias: Float[Array, "4*H"],
) -> Float[Array, " n"]:
    """Weights of a layer in cuDNN's layout: both kernels transposed, then two biases.

    Gate blocks have the same order there, i, f, g, o. The second bias is zero.

    Args:
      kernel: input kernel.
      recurrent_kernel: recurrent kernel.
      bias: bias.

    Returns:
      A flat array of ``4H (I + H + 2)`` numbers.

    >>> packed(jnp.ones((3, 20)), jnp.ones((5, 20)), jnp.ones(20)).shape
    (200,)
    """
    biases = jnp.concatenate([bias, jnp.zeros_like(bias)])
    return jnp.concatenate([kernel.T.ravel(), recurrent_kernel.T.ravel(), biases])


@dataclass(frozen=True)
class CudnnLayer(Rule):
    """The LSTM over whole sequences, by cuDNN.

    Arguments: ``x [T, B, I]``, ``kernel``, ``recurrent_kernel``, ``bias``, ``h_0 [B, H]``, ``c_0``.
    Outputs: ``hs [T, B, H]``, ``h_T``, ``c_T``. Matrix products are in TF32 unless
    `jax.default_matmul_precision` is higher.

    Args:
      reverse: run from the last step to the first.
    """

    platform: ClassVar[str] = "cuda"

    reverse: bool = False

    def reference(self, *args: jax.Array) -> Arrays:
        """The plain scan."""
        outs = Layer(reverse=self.reverse).reference(*(arg[None] for arg in args))
        return tuple(out[0] for out in outs)

    def forward(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """cuDNN's forward pass; saves what that returns for its backward pass."""
        if native != "here":
            # Only cuDNN computes what it saves. An exported backward pass may run elsewhere as a
            # program of its own: NaN keep its results from being taken for gradients.
            saved = self.saved_types(*args) if save else ()
            return self.reference(*args), tuple(map(_unknown, saved))
        outs, saved = self._cudnn_forward(*args)
        return outs, saved if save else ()

    def backward(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        needed: tuple[bool, ...],
        *,
        native: Native,
    ) -> Arrays:
        """cuDNN's backward pass."""
        if native != "here":
            return reference_gradients(self, args, cotangents, needed)
        rnn = importlib.import_module("jax.experimental.rnn")
        (x, h_0, c_0, weights, lengths), pull_back = jax.vjp(self._cudnn_arguments, *args)
        dy, dh_T, dc_T = filled(cotangents, outs)
        residuals = (x, h_0, c_0, weights, lengths, *saved)
        gradients = rnn.lstm_bwd(
            *self._settings(args), residuals, (self._rows_first(dy), dh_T[None], dc_T[None])
        )
        no_gradient = jnp.zeros(lengths.shape, jax.dtypes.float0)
        return select(needed, pull_back((*gradients[:4], no_gradient)))

    def out_types(self, *args: Any) -> Types:
        """Types of ``hs``, ``h_T`` and ``c_T``."""
        x, h_0 = args[0], args[4]
        (T, B, _), H = x.shape, h_0.shape[-1]
        return [jax.ShapeDtypeStruct(shape, x.dtype) for shape in ((T, B, H), (B, H), (B, H))]

    def saved_types(self, *args: Any) -> Types:
        """Types of what cuDNN saves."""
        structs = (jax.ShapeDtypeStruct(arg.shape, arg.dtype) for arg in args)
        return jax.eval_shape(self._cudnn_forward, *structs)[1]

    def _cudnn_forward(self, *args: jax.Array) -> tuple[Arrays, Arrays]:
        rnn = importlib.import_module("jax.experimental.rnn")
        settings = self._settings(args)
        (y, h_T, c_T), residuals = rnn.lstm_fwd(*self._cudnn_arguments(*args), *settings)
        return (self._time_first(y), h_T[0], c_T[0]), tuple(residuals[5:])

    def _cudnn_arguments(self, *args: jax.Array) -> Arrays:
        """``x [B, T, I]``, ``h_0``, ``c_0 [1, B, H]``, flat weights, lengths."""
        x, kernel, recurrent, bias, h_0, c_0 = args
        lengths = jnp.full((x.shape[1],), x.shape[0], jnp.int32)
        weights = packed(kernel, recurrent, bias)
        return self._rows_first(x), h_0[None], c_0[None], weights, lengths

    def _rows_first(self, array: jax.Array) -> jax.Array:
        return jnp.swapaxes(self._flipped(array), 0, 1)

    def _time_first(self, array: jax.Array) -> jax.Array:
        return self._flipped(jnp.swapaxes(array, 0, 1))

    def _flipped(self, array: jax.Array) -> jax.Array:
        """The steps in the order in which cuDNN runs them, or back."""
        return array[::-1] if self.reverse else array

    def _settings(self, args: Arrays) -> tuple[Any, ...]:
        """Sizes, one layer, no dropout, one direction, and the default precision of products."""
        return args[0].shape[-1], args[4].shape[-1], 1, 0.0, False, None


def _unknown(like: Any) -> jax.Array:
    """An array of NaN, or of the largest integer."""
    inexact = jnp.issubdtype(like.dtype, jnp.inexact)
    return jnp.full(like.shape, jnp.nan if inexact else jnp.iinfo(like.dtype).max, like.dtype)
