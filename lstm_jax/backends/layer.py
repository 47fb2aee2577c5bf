"""An LSTM layer over a whole sequence as a `Rule`, with the native backend for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import ffi
from lstm_jax.backends.lowering import Native
from lstm_jax.backends.partition import over_devices
from lstm_jax.backends.primitives import (
    Arrays,
    Axes,
    BackwardOperands,
    bind_backward,
    bind_forward,
    filled,
    reference_gradients,
    select,
    spread,
)
from lstm_jax.backends.rule import Mask, Rule, Types, in_front
from lstm_jax.cells import lstm_gates
from lstm_jax.masks import where_rows, zero_masked
from lstm_jax.sharding import is_sharded
from lstm_jax.types import LSTMParams, LSTMState


@dataclass(frozen=True)
class Layer(Rule):
    """The LSTM over a sequence, for ``G`` networks at once.

    Arguments: ``x [G, T, B, I]`` (zero at masked steps), ``kernel``, ``recurrent_kernel``,
    ``bias``, ``h_0``, ``c_0 [G, B, H]``, then ``valid [G, T, B]`` if `masked`, and ``reset`` if
    `resets`.
    Outputs: ``hs [G, T, B, H]``, which keep their value at masked steps, ``h_T``, ``c_T``, and
    ``cs`` if `states`. Saved for the backward pass: ``cs`` unless it is an output, and the gates
    ``[G, T, B, 4H]``, zero at masked steps.

    Args:
      masked: whether there is ``valid``.
      resets: whether there is ``reset``.
      reverse: run from the last step to the first.
      states: whether the cell states are an output.
      rounds: whether hidden states are rounded to bfloat16.
    """

    masked: bool = False
    resets: bool = False
    reverse: bool = False
    states: bool = False
    rounds: bool = False

    def reference(self, *args: jax.Array) -> Arrays:
        """One network after the other by the plain scan."""
        return self._reference(*args)[: self._outs]

    def forward(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """The native forward pass."""
        if native == "no":
            # An exported backward pass may be a program of its own, which reads what is saved.
            # Within one program nothing reads it, and the compiler removes it.
            out = self._reference(*args)
        else:
            out = self._native_forward(*args, save=save, split=native == "split")
        return out[: self._outs], out[self._outs :] if save else ()

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
        """The native backward pass."""
        if native == "no":
            return reference_gradients(self, args, cotangents, needed)
        split = native == "split"
        return self._native_backward(args, outs, saved, cotangents, needed, split=split)

    def out_types(self, *args: Any) -> Types:
        """Types of the outputs."""
        return self._types(*args)[: self._outs]

    def saved_types(self, *args: Any) -> Types:
        """Types of the cell states, unless they are an output, and of the gates."""
        return self._types(*args)[self._outs :]

    def batched_forward(
        self, size: int, args: Arrays, axes: Axes, *, save: bool
    ) -> tuple[Arrays, Sequence[int | None]]:
        """More rows where the weights are shared, more networks where they are not."""
        if any(map(is_sharded, args)):  # two axes of which one is split cannot become one
            return super().batched_forward(size, args, axes, save=save)
        fold = axes[1:4] == (None, None, None)
        out = bind_forward(self, _joined(size, args, axes, self._rows, fold=fold), save=save)
        sizes = size, _each(args[0], axes[0], fold=fold)
        return _parted(sizes, out, (*self._rows_of_outs, 2, 2)[: len(out)], fold=fold)

    def mapped_backward(
        self,
        size: int,
        operands: BackwardOperands,
        axes: BackwardOperands,
        given: Mask,
        needed: Mask,
    ) -> tuple[Arrays, Sequence[int | None]]:
        """As `batched_forward`; gradients of weights need a network for each."""
        if any(map(is_sharded, (*operands.args, *operands.cotangents))):
            return super().mapped_backward(size, operands, axes, given, needed)
        fold = axes.args[1:4] == (None, None, None) and not any(needed[1:4])
        of_given = select(given, self._rows_of_outs)
        of_saved = (2,) * len(operands.saved)
        rows = (self._rows, self._rows_of_outs, of_saved, of_given)
        joined = (
            _joined(size, *each, fold=fold) for each in zip(operands, axes, rows, strict=True)
        )
        back = bind_backward(self, BackwardOperands(*joined), given, needed)
        sizes = size, _each(operands.args[0], axes.args[0], fold=fold)
        return _parted(sizes, back, select(needed, self._rows), fold=fold)

    @property
    def _outs(self) -> int:
        """How many outputs there are."""
        return 3 + self.states

    @property
    def _rows(self) -> Axes:
        """Where the arguments have the axis ``B``."""
        return (2, None, None, None, 1, 1, *[2] * (self.masked + self.resets))

    @property
    def _rows_of_outs(self) -> tuple[int, ...]:
        return (2, 1, 1, 2) if self.states else (2, 1, 1)

    @property
    def _letters(self) -> tuple[str, ...]:
        """The axes of the arguments, a letter each."""
        flags = ["gtb"] * (self.masked + self.resets)
        return ("gtbi", "gik", "ghk", "gk", "gbh", "gbh", *flags)

    def _types(self, *args: Any) -> Types:
        """Types of ``hs``, ``h_T``, ``c_T``, ``cs`` and the gates."""
        x, _, recurrent, *_ = args
        (G, T, B, _), H = x.shape, recurrent.shape[1]
        shapes = (G, T, B, H), (G, B, H), (G, B, H), (G, T, B, H), (G, T, B, 4 * H)
        return [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]

    def _valid_and_reset(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """These two of the arguments, or None."""
        return args[6] if self.masked else None, args[-1] if self.resets else None

    def _reference(self, *args: jax.Array) -> Arrays:
        """``hs``, ``h_T``, ``c_T``, ``cs`` and the gates."""
        return jax.vmap(self._reference_of_one)(*args)

    def _reference_of_one(self, *args: jax.Array) -> Arrays:
        """`_reference` of one network, whose arrays have no axis ``G``."""
        x, *weights, h_0, c_0 = args[:6]
        dtype = jnp.bfloat16 if self.rounds else x.dtype

        def step(state: LSTMState, inputs: Any) -> tuple[LSTMState, tuple[LSTMState, jax.Array]]:
            x_t, valid_t, reset_t = inputs
            if reset_t is not None:
                resets = reset_t if valid_t is None else reset_t & valid_t
                state = where_rows(resets, jax.tree.map(jnp.zeros_like, state), state)
            h_tm1, c_tm1 = state
            # Weights are cast inside of the loop, so that their gradients add up in float32.
            params = LSTMParams(*(weight.astype(dtype) for weight in weights))
            i, f, g, o = gates = lstm_gates(params, state, x_t)
            c_t = f * c_tm1.astype(f.dtype) + i * g
            h_t = o * jnp.tanh(c_t)
            new = LSTMState(h_t.astype(h_tm1.dtype), c_t.astype(c_tm1.dtype))
            saved = jnp.concatenate(gates, axis=-1)
            if valid_t is not None:
                new, saved = where_rows(valid_t, new, state), zero_masked(valid_t, saved)
            return new, (new, saved)

        state = LSTMState(h_0.astype(dtype), c_0)
        inputs = (x.astype(dtype), *self._valid_and_reset(args))
        (h_T, c_T), ((hs, cs), gates) = jax.lax.scan(step, state, inputs, reverse=self.reverse)
        return tuple(out.astype(x.dtype) for out in (hs, h_T, c_T, cs, gates))

    def _native_forward(self, *args: jax.Array, save: bool, split: bool) -> Arrays:
        """The outputs, and what is saved."""
        states = save or self.states

        def call(*args: jax.Array) -> Sequence[jax.Array]:
            x, kernel, recurrent, bias, h_0, c_0 = args[:6]
            outs = ffi.forward(
                *(x, kernel, recurrent, bias, h_0, c_0),
                *self._valid_and_reset(args),
                reverse=self.reverse,
                rounds=self.rounds,
                states=states,
                gates=save,
            )
            return outs[: 3 + states + save]

        outs = ("gtbh", "gbh", "gbh", "gtbh", "gtbk")[: 3 + states + save]
        call_ = over_devices(call, self._letters, outs) if split else call
        return tuple(call_(*args))

    def _native_backward(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        needed: tuple[bool, ...],
        *,
        split: bool,
    ) -> Arrays:
        """Gradients of the first six arguments, where they are needed."""
        # The cotangents of `hs` and `cs` are optional in the native call.
        of_steps = [cotangents[0], cotangents[3] if self.states else None]
        there = [v is not None for v in of_steps]
        given = [*filled(cotangents[1:3], args[4:6]), *(v for v in of_steps if v is not None)]
        inputs, weights = needed[0], any(needed[1:4])
        computed = (inputs, weights, weights, weights, True, True)

        def call(*arrays: jax.Array) -> Sequence[jax.Array]:
            args, (hs, cs, gates, dh_T, dc_T, *some) = arrays[: len(needed)], arrays[len(needed) :]
            x, kernel, recurrent, _, h_0, c_0 = args[:6]
            gradients = ffi.backward(
                *(x, kernel, recurrent, h_0, c_0),
                *self._valid_and_reset(args),
                (hs, cs, gates),
                (*spread(there, some), dh_T, dc_T),
                reverse=self.reverse,
                inputs=inputs,
                weights=weights,
            )
            return select(computed, gradients)

        # With `states`, the cell states are the last output; otherwise they are saved.
        cs_and_gates = (*outs[3:], *saved)
        arrays = (*args, outs[0], *cs_and_gates, *given)
        letters = (*self._letters, "gtbh", "gtbh", "gtbk", "gbh", "gbh", *["gtbh"] * sum(there))
        of_computed = select(computed, self._letters[:6])
        call_ = over_devices(call, letters, of_computed) if split else call
        gradients = spread(computed, tuple(call_(*arrays)))
        return select(needed[:6], gradients)


def _joined(size: int, arrays: Arrays, axes: Axes, rows: Axes, *, fold: bool) -> Arrays:
    """The mapped axis joined with the axis of rows if `fold`, else with that of networks."""

    def join(array: jax.Array, axis: int | None, row: int | None) -> jax.Array:
        if fold and row is None:
            return array
        to = (row or 0) if fold else 0
        (array,) = in_front(size, [array], [axis])
        array = jnp.moveaxis(array, 0, to)
        shape = array.shape
        return array.reshape(*shape[:to], shape[to] * shape[to + 1], *shape[to + 2 :])

    return tuple(map(join, arrays, axes, rows))


def _each(x: jax.Array, axis: int | None, *, fold: bool) -> int:
    """How many rows if `fold`, else how many networks, one element of the mapped axis has."""
    shape = [size for k, size in enumerate(x.shape) if k != axis]
    return shape[2 if fold else 0]


def _parted(
    sizes: tuple[int, int], arrays: Arrays, rows: Axes, *, fold: bool
) -> tuple[Arrays, Sequence[int | None]]:
    """The reverse of `_joined`: arrays with the mapped axis, and where they have it."""
    at = [(row or 0) if fold else 0 for row in rows]
    parted = [
        array.reshape(*array.shape[:k], *sizes, *array.shape[k + 1 :])
        for array, k in zip(arrays, at, strict=True)
    ]
    return tuple(parted), at
