"""A whole LSTM layer over time as one function, with the native kernels for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.backends import ffi
from lstm_jax.backends.partition import over_devices
from lstm_jax.backends.primitives import (
    Arrays,
    Axes,
    Native,
    bind_pull_back,
    bind_run,
    filled,
    pull_back_by_definition,
    spread,
)
from lstm_jax.backends.rule import Given, OperandAxes, PullBackOperands, Rule, in_front
from lstm_jax.cells import LSTM, lstm_gates, lstm_step
from lstm_jax.masks import where_rows, zero_masked
from lstm_jax.resets import reset_state
from lstm_jax.types import LSTMParams, LSTMState, PyTree


def not_plain(cell: Any) -> str | None:
    """Why a cell is not the LSTM that kernels are made for, or None.

    >>> from lstm_jax import GRU
    >>> not_plain(GRU(3, 5))
    'it runs the plain LSTM; the cell is a GRU'
    """
    if type(cell) is not LSTM:
        return f"it runs the plain LSTM; the cell is a {type(cell).__name__}"
    if cell.gate_activation is not jax.nn.sigmoid or cell.activation is not jnp.tanh:
        return "its gates are sigmoids and its candidate a tanh; the cell has others"
    return None


def not_features(x: PyTree) -> str | None:
    """Why inputs are not what such kernels read, or None."""
    return "it reads one array of features [T, ..., I]" if getattr(x, "ndim", 0) < 2 else None


@dataclass(frozen=True)
class Layer(Rule):
    """The LSTM over a sequence, for ``G`` networks at once.

    Its arguments are ``x [G, T, B, I]`` (zero at masked steps), ``kernel``, ``recurrent_kernel``,
    ``bias``, ``h_0``, ``c_0 [G, B, H]``, then ``valid`` and ``reset`` ``[G, T, B]`` if it has them.
    It gives ``hs [G, T, B, H]``, held at masked steps, ``h_T``, ``c_T``, and ``cs`` if asked for.

    Args:
      masked: whether it has `valid`.
      resets: whether it has `reset`.
      reverse: run from the last step to the first.
      states: whether to give the cell states.
      rounds: whether hidden states are rounded to bfloat16.
    """

    masked: bool = False
    resets: bool = False
    reverse: bool = False
    states: bool = False
    rounds: bool = False

    def define(self, *args: jax.Array) -> Arrays:
        """One network after the other by the plain scan."""
        outs = jax.vmap(self._define_one)(*args)
        return outs[: 3 + self.states]

    def run(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """The native forward pass; saves cell states and gates."""
        if native == "no":
            # The backward pass may be another program, on another machine, which reads them. Where
            # it is a part of this one it goes by the definition, and the compiler drops them.
            outs = jax.vmap(self._define_one)(*args)
            return outs[: 3 + self.states], outs[3:] if save else ()
        out = self._forward(*args, save=save, split=native == "split")
        return out[: 3 + self.states], out[3:] if save else ()

    def pull_back(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        wanted: tuple[bool, ...],
        *,
        native: Native,
    ) -> Arrays:
        """The native backward pass."""
        if native == "no":
            return pull_back_by_definition(self, args, cotangents, wanted)
        split = native == "split"
        return self._backward(args, outs, saved, cotangents, wanted, split=split)

    def batched_run(
        self, size: int, args: Arrays, axes: Axes, *, save: bool
    ) -> tuple[Arrays, Sequence[int | None]]:
        """More rows where the weights are shared, more networks where they are not."""
        fold = axes[1:4] == (None, None, None)
        joined = _joined(size, args, axes, self._rows, fold=fold)
        out = bind_run(self, joined, save=save)
        sizes = size, _each(args[0], axes[0], fold=fold)
        return _parted(sizes, out, (*self._rows_of_outs, 2, 2)[: len(out)], fold=fold)

    def mapped_pull_back(
        self, size: int, operands: PullBackOperands, axes: OperandAxes, given: Given, wanted: Given
    ) -> tuple[Arrays, Sequence[int | None]]:
        """As `batched_run`."""
        fold = axes[0][1:4] == (None, None, None) and not any(wanted[1:4])
        of_given = tuple(row for row, here in zip(self._rows_of_outs, given, strict=True) if here)
        rows = (self._rows, self._rows_of_outs, (2, 2), of_given)
        joined = tuple(
            _joined(size, *each, fold=fold) for each in zip(operands, axes, rows, strict=True)
        )
        back = bind_pull_back(self, joined, given, wanted)  # pyright: ignore[reportArgumentType]
        of_wanted = tuple(row for row, want in zip(self._rows, wanted, strict=True) if want)
        sizes = size, _each(operands[0][0], axes[0][0], fold=fold)
        return _parted(sizes, back, of_wanted, fold=fold)

    @property
    def _rows(self) -> Axes:
        """Where the arguments have the axis ``B``."""
        return (2, None, None, None, 1, 1, *[2] * (self.masked + self.resets))

    @property
    def _rows_of_outs(self) -> tuple[int, ...]:
        return (2, 1, 1, 2) if self.states else (2, 1, 1)

    def _optional(self, args: Sequence[Any]) -> tuple[Any, Any]:
        """`valid` and `reset` of the arguments, or None."""
        return (args[6] if self.masked else None, args[-1] if self.resets else None)

    def _define_one(self, *args: jax.Array) -> Arrays:
        """Hidden states, the last of them and of the cell states, all of those, and the gates."""
        dtype = jnp.bfloat16 if self.rounds else args[0].dtype
        x, *weights, h_0, c_0 = args[:6]
        valid, reset = self._optional(args)
        x, state = x.astype(dtype), LSTMState(h_0.astype(dtype), c_0)
        start = None if reset is None else jax.tree.map(jnp.zeros_like, state)

        def step(state, at_t):
            x_t, valid_t, reset_t = at_t
            if reset_t is not None:
                state = reset_state(reset_t, valid_t, start, state)
            params = _as_multiplied(LSTMParams(*weights), x_t)
            new, gates = (
                lstm_step(params, state, x_t),
                jnp.concatenate(lstm_gates(params, state, x_t), -1),
            )
            if valid_t is not None:
                new, gates = where_rows(valid_t, new, state), zero_masked(valid_t, gates)
            return new, (gates, new)

        final, (gates, (hs, cs)) = jax.lax.scan(
            step, state, (x, valid, reset), reverse=self.reverse
        )
        if valid is not None:
            pass
        outs = (hs, final.h, final.c, cs, gates)
        return tuple(a.astype(args[0].dtype) for a in outs)

    def _forward(self, *args: jax.Array, save: bool, split: bool) -> Arrays:
        """Hidden states, the last of them and of the cell states, and what else is asked for."""
        states = save or self.states

        def call(*args: jax.Array) -> Sequence[jax.Array]:
            x, kernel, recurrent, bias, h_0, c_0 = args[:6]
            outs = ffi.forward(
                *(x, kernel, recurrent, bias, h_0, c_0),
                *self._optional(args),
                reverse=self.reverse,
                rounds=self.rounds,
                states=states,
                gates=save,
            )
            return outs[: 3 + states + save]

        outs = ("gtbh", "gbh", "gbh", "gtbh", "gtbk")[: 3 + states + save]
        call_ = over_devices(call, self._letters, outs) if split else call
        return tuple(call_(*args))

    def _backward(
        self,
        args: Arrays,
        outs: Arrays,
        saved: Arrays,
        cotangents: Sequence[jax.Array | None],
        wanted: tuple[bool, ...],
        *,
        split: bool,
    ) -> Arrays:
        """Gradients of the first six arguments, where they are wanted."""
        # Those of all steps may be absent.
        of_steps = [cotangents[0], cotangents[3] if self.states else None]
        there = [v is not None for v in of_steps]
        given = [*filled(cotangents[1:3], args[4:6]), *(v for v in of_steps if v is not None)]
        inputs, weights = wanted[0], any(wanted[1:4])
        computed = (inputs, weights, weights, weights, True, True)

        def call(*arrays: jax.Array) -> list[jax.Array]:
            args, (hs, cs, gates, dh_T, dc_T, *some) = arrays[: len(wanted)], arrays[len(wanted) :]
            x, kernel, recurrent, _, h_0, c_0 = args[:6]
            gradients = ffi.backward(
                *(x, kernel, recurrent, h_0, c_0),
                *self._optional(args),
                (hs, cs, gates),
                (*spread(there, some), dh_T, dc_T),
                reverse=self.reverse,
                inputs=inputs,
                weights=weights,
            )
            return [g for g, here in zip(gradients, computed, strict=True) if here]

        arrays = (*args, outs[0], *saved, *given)
        letters = (*self._letters, "gtbh", "gtbh", "gtbk", "gbh", "gbh", *["gtbh"] * sum(there))
        of_computed = [each for each, here in zip(self._letters, computed, strict=False) if here]
        call_ = over_devices(call, letters, of_computed) if split else call
        gradients = iter(call_(*arrays))
        of_args = [next(gradients) if here else None for here in computed]
        return tuple(g for g, want in zip(of_args, wanted, strict=False) if want and g is not None)

    @property
    def _letters(self) -> tuple[str, ...]:
        """The axes of the arguments, a letter each."""
        flags = ["gtb"] * (self.masked + self.resets)
        return ("gtbi", "gik", "ghk", "gk", "gbh", "gbh", *flags)


def _as_multiplied(params: PyTree, x: jax.Array) -> PyTree:
    """Weights as a step multiplies with them; cast there, their gradients add up in float32."""
    return jax.tree.map(lambda leaf: leaf.astype(x.dtype), params)


def _joined(size: int, arrays: Arrays, axes: Axes, rows: Axes, *, fold: bool) -> Arrays:
    """The mapped axis as a part of the rows' axis, or of the networks'."""

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
    """Rows, or networks, of what is mapped."""
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
