"""A step taken apart: what is the same at every step, what needs inputs alone, and the rest.

A step is a function ``(operands, carry, inputs) -> (carry, outputs)``. Most of its work is products
of something that changes with something that does not: weights. Here it becomes three functions:

- ``fixed(operands) -> phi``: whatever depends on operands alone, computed once;
- ``ahead(phi, inputs) -> pi``: whatever needs no carry, as ``W x + b``, for any step at any time;
- ``rest(phi, pi, carry) -> (carry, outputs)``: what has to wait its turn, in which products with
  weights are known as such, so that the weights' gradients can be left for after the loop.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

Act = Callable[["Product", jax.Array, jax.Array], jax.Array]
"""What to do for a product: ``(product, act, weight) -> act times weight``."""

# Calls of functions that are jaxprs themselves: their equations are taken as the caller's.
_CALLS = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr"}


@dataclass(frozen=True, eq=False)
class Product:
    """A product of what comes from the carry with a weight.

    Attributes:
      number: its number among the products of a step.
      weight: number of the weight in ``phi``.
      side: which operand is the weight.
      eqn: the equation.
    """

    number: int
    weight: int
    side: int
    eqn: JaxprEqn

    def __call__(self, act: jax.Array, weight: jax.Array) -> jax.Array:
        """Multiply."""
        operands = (act, weight) if self.side == 1 else (weight, act)
        (out,) = _bind(self.eqn, operands)
        return out


@dataclass(frozen=True, eq=False)
class Parts:
    """A step taken apart.

    Attributes:
      operands: variables of the operands, and of constants after them.
      consts: those constants.
      carry: variables of the carry.
      inputs: variables of the inputs.
      outs: variables of the new carry and the outputs.
      fixed: equations of the first part.
      ahead: those of the second.
      rest: those of the third.
      phi: what the first part hands on.
      pi: what the second hands on to the third.
      products: products with weights in the third, none of which is used otherwise there.
    """

    operands: list[Var]
    consts: list[Any]
    carry: list[Var]
    inputs: list[Var]
    outs: list[Any]
    fixed: list[JaxprEqn]
    ahead: list[JaxprEqn]
    rest: list[JaxprEqn]
    phi: list[Var]
    pi: list[Var]
    products: list[Product]

    def run_fixed(self, operands: Sequence[Any]) -> list[Any]:
        """``phi`` of operands."""
        return _run(self.fixed, _named(self.operands, [*operands, *self.consts]), self.phi)

    def run_ahead(self, phi: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """``pi`` of one step's inputs."""
        return _run(self.ahead, _named(self.phi, phi) | _named(self.inputs, inputs), self.pi)

    def run_rest(
        self, phi: Sequence[Any], pi: Sequence[Any], carry: Sequence[Any], act: Act
    ) -> list[Any]:
        """The new carry and the outputs; `act` multiplies with weights."""
        known = _named(self.phi, phi) | _named(self.pi, pi) | _named(self.carry, carry)
        by_eqn = {id(product.eqn): product for product in self.products}

        def special(eqn: JaxprEqn, values: list[Any]) -> Any:
            product = by_eqn.get(id(eqn))
            if product is None:
                return None
            return act(product, values[1 - product.side], values[product.side])

        return _run(self.rest, known, self.outs, special)


def take_apart(step: Callable[..., Any], operands: Any, carry: Any, inputs: Any) -> Parts:
    """Take a step apart.

    Args:
      step: ``(operands, carry, inputs) -> outputs``, any pytrees.
      operands: types of what is the same at every step.
      carry: types of what goes from step to step.
      inputs: types of one step's inputs.

    Returns:
      Its parts, with leaves of the pytrees in order.

    >>> import jax.numpy as jnp
    >>> W, x, h = jnp.ones((3, 5)), jnp.ones(3), jnp.ones(5)
    >>> parts = take_apart(lambda W, h, x: jnp.tanh(h + x @ W), W, h, x)
    >>> [str(eqn.primitive) for eqn in parts.ahead], [str(eqn.primitive) for eqn in parts.rest]
    ([\'dot_general\'], [\'add\', \'tanh\'])
    """
    leaves = [jax.tree.leaves(tree) for tree in (operands, carry, inputs)]
    sizes = list(map(len, leaves))

    def flat(*values: Any) -> list[Any]:
        trees = []
        for tree, size in zip((operands, carry, inputs), sizes, strict=True):
            trees.append(jax.tree.unflatten(jax.tree.structure(tree), values[:size]))
            values = values[size:]
        return jax.tree.leaves(step(*trees))

    closed = jax.make_jaxpr(_inlined(flat))(*itertools.chain(*leaves))
    jaxpr = closed.jaxpr
    of_operands = jaxpr.invars[: sizes[0]]
    of_carry = jaxpr.invars[sizes[0] : sizes[0] + sizes[1]]
    of_inputs = jaxpr.invars[sizes[0] + sizes[1] :]
    floor = dict.fromkeys(of_operands, 0) | dict.fromkeys(of_inputs, 1)
    floor |= dict.fromkeys(of_carry, 2) | dict.fromkeys(jaxpr.constvars, 0)
    parts: tuple[list[JaxprEqn], ...] = ([], [], [])
    for eqn in jaxpr.eqns:
        at = max((floor[v] for v in eqn.invars if not isinstance(v, Literal)), default=0)
        floor |= dict.fromkeys(eqn.outvars, at)
        parts[at].append(eqn)
    _, ahead, rest = parts

    def read(eqns: Sequence[JaxprEqn], at: int, also: Sequence[Any] = ()) -> list[Any]:
        used: list[Any] = [v for eqn in eqns for v in eqn.invars] + list(also)
        return [v for v in dict.fromkeys(filter(_is_var, used)) if floor[v] == at]

    phi: list[Any] = list(dict.fromkeys([*read(rest, 0, jaxpr.outvars), *read(ahead, 0)]))
    uses = Counter(v for eqn in rest for v in eqn.invars if _is_var(v))
    uses.update(filter(_is_var, jaxpr.outvars))
    found = [(eqn, side) for eqn in rest if (side := _weight_side(eqn, floor)) is not None]
    as_weight = Counter(eqn.invars[side] for eqn, side in found)
    found = [
        (eqn, side) for eqn, side in found if uses[eqn.invars[side]] == as_weight[eqn.invars[side]]
    ]
    products = [
        Product(number, phi.index(eqn.invars[side]), side, eqn)
        for number, (eqn, side) in enumerate(found)
    ]
    pi = read(rest, 1, jaxpr.outvars)
    return Parts(
        [*of_operands, *jaxpr.constvars],
        closed.consts,
        of_carry,
        of_inputs,
        jaxpr.outvars,
        *parts,
        phi,
        pi,
        products,
    )


def _inlined(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function without calls of compiled functions in it."""

    def run(*args: Any) -> Any:
        closed = jax.make_jaxpr(f)(*args)
        return _inline(closed.jaxpr, closed.consts, args)

    return run


def _inline(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    known = _named(jaxpr.constvars, consts) | _named(jaxpr.invars, args)

    def special(eqn: JaxprEqn, values: list[Any]) -> Any:
        inner = eqn.params.get(_CALLS.get(str(eqn.primitive), ""))
        return None if inner is None else _inline(inner.jaxpr, inner.consts, values)

    return _run(jaxpr.eqns, known, jaxpr.outvars, special)


def _run(
    eqns: Sequence[JaxprEqn],
    known: dict[Var, Any],
    wanted: Sequence[Any],
    special: Callable[[JaxprEqn, list[Any]], Any] = lambda eqn, values: None,
) -> list[Any]:
    """Run equations; `special` may give the result of one instead, a single array or all."""

    def value(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else known[v]

    for eqn in eqns:
        values = [value(v) for v in eqn.invars]
        out = special(eqn, values)
        if out is None:
            out = _bind(eqn, values)
        out = out if isinstance(out, list | tuple) else [out]
        known |= dict(zip(eqn.outvars, out, strict=True))
    return [value(v) for v in wanted]


def _bind(eqn: JaxprEqn, values: Sequence[Any]) -> Sequence[Any]:
    params = eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager:
        out = eqn.primitive.bind(*values, **params)
    return out if isinstance(out, list | tuple) else [out]


def _weight_side(eqn: JaxprEqn, floor: dict[Any, int]) -> int | None:
    """Which operand of a product is the same at every step, or None."""
    if str(eqn.primitive) != "dot_general" or any(eqn.params["dimension_numbers"][1]):
        return None
    same = [k for k, v in enumerate(eqn.invars) if _is_var(v) and floor[v] == 0]
    return same[0] if same else None


def _named(variables: Sequence[Var], values: Sequence[Any]) -> dict[Var, Any]:
    return dict(zip(variables, values, strict=True))


def _is_var(v: Any) -> bool:
    return not isinstance(v, Literal)
