"""Any cell by a compiled loop whose backward pass leaves the weights' gradients for after the loop.

The gradient of a plain scan adds a product to the gradient of every weight at every step. Here the
backward loop computes only what the next step needs, and keeps the gradients of what the products
gave; then each weight's gradient is one product over all steps and rows.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.kernels import loop
from lstm_jax.kernels.parts import Parts, Product, take_apart
from lstm_jax.kernels.primitives import Arrays, Axes, Native, bind_pull_back, bind_run, filled
from lstm_jax.kernels.problem import Problem, has_symbols, platform, split_over_mesh
from lstm_jax.kernels.rule import Given, OperandAxes, PullBackOperands, Rule, call, in_front
from lstm_jax.kernels.scan import scan
from lstm_jax.kernels.vjp import can_move, plus, sums, vjp
from lstm_jax.split import alike
from lstm_jax.types import PyTree


def refuses(cell: Any) -> str | None:
    """It runs any cell."""
    del cell


def cannot(problem: Problem) -> str | None:
    """Why a problem is not one for it, or None."""
    if not problem.is_value:
        return "an equal cell may do something else: it is no frozen dataclass of values"
    if jax.tree.leaves(problem.inputs.x)[0].shape[0] == 0:
        return "there is no step to run"
    if isinstance(problem.remat, int):
        return "it keeps something of every step; remat asks for less"
    return has_symbols(problem) or split_over_mesh(problem)


def hesitates() -> str | None:
    """Why it should not be taken unless asked for, or None."""
    return "measured no faster than the plain loop on a processor" if platform() == "cpu" else None


def solve(problem: Problem) -> tuple[PyTree, PyTree, PyTree]:
    """Run any cell."""
    problem = loop.with_shown(problem)
    body = loop.body_of(problem, loop.shown_and_state if problem.with_states else loop.shown)
    tree = (problem.operands, problem.inputs, problem.carry)
    leaves, structure = jax.tree.flatten(tree)
    rule = Fused(
        body,
        structure,
        reverse=problem.reverse,
        unroll=problem.unroll,
        ahead=platform() != "cpu",
        keeps=problem.remat is None,
    )
    result = jax.eval_shape(rule.scanned, *leaves)
    out = jax.tree.unflatten(jax.tree.structure(result), call(rule, *alike(leaves)))
    carry, (outputs, states) = out
    return carry.state, outputs, states


@dataclass(frozen=True)
class Fused(Rule):
    """A loop over a body, with the leaves of ``(operands, inputs, carry)`` as its arguments.

    It gives the leaves of the final carry, then those of what the steps showed.

    Args:
      body: one step.
      structure: how the arguments are put together.
      reverse: run from the last step to the first.
      unroll: steps per iteration of the compiled loop.
      ahead: compute what needs no carry before the loop, for all steps at once.
      keeps: whether products are kept for the backward pass, or computed again.
    """

    body: Any
    structure: Any
    reverse: bool
    unroll: int
    ahead: bool
    keeps: bool

    def define(self, *args: jax.Array) -> Arrays:
        """The plain scan."""
        return tuple(jax.tree.leaves(self.scanned(*args)))

    def scanned(self, *args: jax.Array) -> PyTree:
        """The same, put together."""
        operands, inputs, carry = jax.tree.unflatten(self.structure, args)
        return scan(self.body, operands, inputs, carry, reverse=self.reverse, unroll=self.unroll)

    def run(self, *args: jax.Array, save: bool, native: Native) -> tuple[Arrays, Arrays]:
        """The loop; saves the carry before every step, and what came out of the products."""
        del native
        parts, operands, inputs, carry = self._parts(args)
        if not save and not self.ahead:
            return self.define(*args), ()
        phi = parts.run_fixed(operands)
        before = _over_time(parts, phi, inputs) if self.ahead else inputs
        size = len(carry)

        def step(carry: list[Any], before: list[Any]) -> tuple[list[Any], Any]:
            pi = before if self.ahead else parts.run_ahead(phi, before)
            products: list[Any] = []

            def act(product: Product, array: jax.Array, weight: jax.Array) -> jax.Array:
                products.append(product(array, weight))
                return products[-1]

            out = parts.run_rest(phi, pi, carry, act)
            kept = [*carry, *([*pi, *products] if self.keeps else [])] if save else []
            return out[:size], (out[size:], kept)

        final, (shown, kept) = self._loop(step, carry, before, reverse=self.reverse)
        return (*final, *shown), tuple(kept)

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
        """The loop backwards, then the gradients of weights and inputs all at once."""
        del native
        parts, operands, inputs, carry = self._parts(args)
        (phi,), to_operands = vjp(lambda operands: (parts.run_fixed(operands),), operands)
        (pi,), to_inputs = vjp(lambda *both: (_over_time(parts, *both),), phi, inputs)
        size, count = len(carry), len(parts.pi)
        befores, kept = list(saved[:size]), list(saved[size:])
        pis, ys = (kept[:count], kept[count:]) if self.keeps else (pi, None)
        weights = {product.weight for product in parts.products}
        # Weights are constants here: what their gradients take is handed on.
        others: list[Any] = [None if k in weights else p for k, p in enumerate(phi)]

        def step(carried: Any, at: Any) -> tuple[Any, Any]:
            v_carry, v_others = carried
            before, pi, ys, v_shown = at
            acts: list[Any] = [None] * len(parts.products)

            def local(others: Any, pi: Any, before: Any, shifts: Any) -> tuple[Any, Any]:
                mine = [p if o is None else o for o, p in zip(others, phi, strict=True)]

                def act(product: Product, array: jax.Array, weight: jax.Array) -> jax.Array:
                    acts[product.number] = array
                    y = None if ys is None else ys[product.number]
                    return _shifted(product, array, shifts[product.number], weight, y)

                return (parts.run_rest(mine, pi, before, act), acts)

            shifts = _shifts(parts, phi, pi, before)
            (_, of_products), back = vjp(local, others, pi, before, shifts)
            v_acts = [None] * len(of_products)
            d_others, d_pi, d_before, d_ys = back([*v_carry, *v_shown], v_acts)
            return (filled(d_before, before), sums(v_others, d_others)), (d_pi, d_ys, of_products)

        v_outs = filled(cotangents, outs)
        first = (v_outs[:size], [jnp.zeros_like(o) if can_move(o) else None for o in others])
        (d_carry, d_phi), (d_pi, d_ys, acts) = self._loop(
            step, first, (befores, pis, ys, v_outs[size:]), reverse=not self.reverse
        )
        for product in parts.products:
            d_phi[product.weight] = plus(
                d_phi[product.weight],
                _of_weight(
                    product, phi[product.weight], acts[product.number], d_ys[product.number]
                ),
            )
        from_inputs, d_inputs = to_inputs(d_pi)
        (d_operands,) = to_operands(sums(d_phi, from_inputs))
        gradients = [*d_operands, *d_inputs, *d_carry]
        return tuple(g for g, want in zip(filled(gradients, args), wanted, strict=True) if want)

    def batched_run(
        self, size: int, args: Arrays, axes: Axes, *, save: bool
    ) -> tuple[Arrays, Sequence[int | None]]:
        """Steps that are mapped: a product with shared weights stays one product."""
        rule, moved = self._mapped(size, args, axes)
        count = len(jax.tree.leaves(jax.tree.unflatten(self.structure, args)[2]))
        if not save:
            out = bind_run(rule, moved, save=False)
            return out, [0] * count + [1] * (len(out) - count)
        # What is kept of products is that of the mapped step, of which this one knows nothing.
        out = bind_run(dataclasses.replace(rule, keeps=False), moved, save=True)
        axes_of_out: list[Any] = [0] * count + [1] * (len(out) - count)
        if not self.keeps:
            return out, axes_of_out
        # Only who takes one gradient out of those that were mapped reads these.
        again = jax.vmap(self._products, (1, *axes), axis_size=size)
        products = again(*lax.stop_gradient((list(out[-count:]), *args)))
        return (*out, *products), axes_of_out + [0] * len(products)

    def mapped_pull_back(
        self, size: int, operands: PullBackOperands, axes: OperandAxes, given: Given, wanted: Given
    ) -> tuple[Arrays, Sequence[int | None]]:
        """As `batched_run`."""
        rule, args = self._mapped(size, in_front(size, operands[0], axes[0]), (0,) * len(axes[0]))
        count = len(jax.tree.leaves(jax.tree.unflatten(self.structure, args)[2]))
        at = [0] * count + [1] * (len(operands[1]) - count)
        of_given = [axis for axis, here in zip(at, given, strict=True) if here]
        outs, saved, cotangents = (
            tuple(map(jnp.moveaxis, in_front(size, arrays[: len(to)], where), [0] * len(to), to))
            for arrays, where, to in zip(
                operands[1:],
                (axes[1], axes[2][:count], axes[3]),
                (at, [1] * count, of_given),
                strict=True,
            )
        )
        rule = dataclasses.replace(rule, keeps=False)
        back = bind_pull_back(rule, (args, outs, saved, cotangents), given, wanted)
        of_args = [1 if k else 0 for k in self._over_time()]
        return back, [axis for axis, want in zip(of_args, wanted, strict=True) if want]

    def _products(self, befores: list[Any], *args: jax.Array) -> list[Any]:
        """What `run` keeps of products, from the carry before every step."""
        parts, operands, inputs, _ = self._parts(args)
        phi = parts.run_fixed(operands)
        pi = _over_time(parts, phi, inputs)
        found = jax.vmap(lambda pi, before: _of_step(parts, phi, pi, before))(pi, befores)
        return [*pi, *found]

    def _mapped(self, size: int, args: Arrays, axes: Axes) -> tuple["Fused", Arrays]:
        """The rule with a mapped step, and its arguments: with the axis in front, after time."""
        over_time = self._over_time()
        where = tuple(None if axis is None else 0 for axis in axes)
        # Carries go through all steps: all of them have the axis.
        operands, inputs, carry = jax.tree.unflatten(self.structure, range(len(args)))
        of_carry = set(jax.tree.leaves(carry))
        where = tuple(0 if k in of_carry else axis for k, axis in enumerate(where))
        moved = [
            arg
            if to is None
            else jnp.moveaxis(in_front(size, [arg], [axis])[0], 0, 1 if timed else 0)
            for arg, axis, to, timed in zip(args, axes, where, over_time, strict=True)
        ]
        structures = [jax.tree.structure(tree) for tree in (operands, inputs, carry)]
        of_tree = [
            tuple(where[k] for k in jax.tree.leaves(tree)) for tree in (operands, inputs, carry)
        ]
        body = MappedBody(self.body, size, *of_tree, *structures)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(self, body=body), tuple(moved)

    def _over_time(self) -> list[bool]:
        """Which arguments have a time axis."""
        numbered = jax.tree.unflatten(self.structure, range(self.structure.num_leaves))
        inputs = set(jax.tree.leaves(numbered[1]))
        return [k in inputs for k in range(self.structure.num_leaves)]

    def _parts(self, args: Sequence[Any]) -> tuple[Parts, list[Any], list[Any], list[Any]]:
        """The step taken apart, and leaves of operands, inputs and carry."""
        trees = jax.tree.unflatten(self.structure, args)
        operands, inputs, carry = trees
        x_1 = jax.eval_shape(lambda tree: jax.tree.map(lambda a: a[0], tree), inputs)
        parts = take_apart(self.body, operands, carry, x_1)
        return parts, *(jax.tree.leaves(tree) for tree in trees)  # pyright: ignore[reportReturnType]

    def _loop(self, step: Any, carry: Any, xs: Any, *, reverse: bool) -> tuple[Any, Any]:
        return lax.scan(step, carry, xs, reverse=reverse, unroll=self.unroll)


@dataclass(frozen=True)
class MappedBody:
    """One step of a loop, mapped over an axis of some leaves of its arguments.

    Args:
      body: the step.
      size: length of the axis.
      of_operands, of_inputs, of_carry: where leaves have it.
      operands, inputs, carry: structures of the arguments.
    """

    body: Any
    size: int
    of_operands: Axes
    of_inputs: Axes
    of_carry: Axes
    operands: Any
    inputs: Any
    carry: Any

    def __call__(self, operands: PyTree, carry: PyTree, inputs: PyTree) -> PyTree:
        """Run the step."""
        leaves = tuple(map(jax.tree.leaves, (operands, carry, inputs)))
        structures = (self.operands, self.carry, self.inputs)

        def step(*leaves: list[Any]) -> PyTree:
            return self.body(*map(jax.tree.unflatten, structures, leaves))

        axes = tuple(map(list, (self.of_operands, self.of_carry, self.of_inputs)))
        return jax.vmap(step, axes, axis_size=self.size)(*leaves)


def _over_time(parts: Parts, phi: list[Any], inputs: list[Any]) -> list[Any]:
    """What needs no carry, for all steps at once: products of all steps are one."""
    return jax.vmap(parts.run_ahead, (None, 0))(phi, inputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _shifted(product: Product, act: Any, shift: Any, weight: Any, y: Any) -> jax.Array:
    """A product, known already or not, plus zero: by that zero its gradient is read."""
    del shift
    return product(act, weight) if y is None else y


@_shifted.defjvp
def _(product: Product, primals: Any, tangents: Any) -> tuple[Any, Any]:
    act, shift, weight, y = primals
    return _shifted(product, act, shift, weight, y), product(tangents[0], weight) + tangents[1]


def _of_step(parts: Parts, phi: list[Any], pi: list[Any], carry: list[Any]) -> list[Any]:
    """The products of a step."""
    found: list[Any] = []

    def act(product: Product, array: jax.Array, weight: jax.Array) -> jax.Array:
        found.append(product(array, weight))
        return found[-1]

    parts.run_rest(phi, pi, carry, act)
    return found


def _shifts(parts: Parts, phi: list[Any], pi: list[Any], carry: list[Any]) -> list[Any]:
    """Zeros like the products of a step."""
    products = jax.eval_shape(lambda: _of_step(parts, phi, pi, carry))
    return [jnp.zeros(y.shape, y.dtype) for y in products]


def _of_weight(product: Product, weight: jax.Array, acts: jax.Array, ys: jax.Array) -> jax.Array:
    """The gradient of a weight: one product over all steps and rows."""
    over_time = jax.vmap(product, (0, None))
    return jax.vjp(lambda weight: over_time(acts, weight), weight)[1](ys)[0]
