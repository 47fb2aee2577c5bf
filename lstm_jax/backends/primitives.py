"""Functions with a backward pass of their own that keep every transformation of JAX.

`jax.custom_vjp` gives a function a backward pass, but no forward mode and no second derivatives.
Here three primitives stand for a function ``f``, its derivative, and its transpose:

============ ============================== =========================== ==========================
primitive    computes                       by                          derivative; transpose
============ ============================== =========================== ==========================
``forward``  ``f(a)``                       `Rule.forward`              ``tangent``
``tangent``  ``J(a) t``, linear in ``t``    `jax.jvp` of the reference  by `jax.jvp`; ``backward``
``backward`` ``J(a)^T v``, linear in ``v``  `Rule.backward`             by `jax.vjp`; ``tangent``
============ ============================== =========================== ==========================

So a gradient runs `Rule.forward` and `Rule.backward`; forward mode and higher derivatives are those
of the plain JAX code in `Rule.reference`. What ``forward`` saves for ``backward`` follows from
``a``, so it needs no derivative of its own. The types of all results are computed from those of the
arguments: neither the reference nor a step of it is traced for them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching
from jax.interpreters import partial_eval as pe
from jax.sharding import NamedSharding, PartitionSpec

from lstm_jax.backends.lowering import Native, register_compilation

Arrays = tuple[jax.Array, ...]
Axes = tuple[int | None, ...]


class BackwardOperands(NamedTuple):
    """What a backward pass reads, or something for each of these arrays.

    Attributes:
      args: arguments of the forward pass.
      outs: its outputs.
      saved: what it saved.
      cotangents: those of the outputs that have one.
    """

    args: tuple[Any, ...]
    outs: tuple[Any, ...]
    saved: tuple[Any, ...]
    cotangents: tuple[Any, ...]


def spread(where: Sequence[bool], values: Sequence[Any], default: Any = None) -> list[Any]:
    """The values in order where `where` is true, and a default elsewhere.

    >>> spread([True, False, True], [1, 2])
    [1, None, 2]
    """
    rest = iter(values)
    return [next(rest) if here else default for here in where]


def select(where: Sequence[bool], values: Sequence[Any]) -> tuple[Any, ...]:
    """The values where `where` is true: the reverse of `spread`.

    >>> select([True, False, True], [1, 2, 3])
    (1, 3)
    """
    return tuple(value for value, here in zip(values, where, strict=True) if here)


def filled(cotangents: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """Cotangents of arrays, with zeros for None.

    >>> [v.tolist() for v in filled([None, jnp.ones(2)], [jnp.ones(1), jnp.ones(2)])]
    [[0.0], [1.0, 1.0]]
    """
    return [jnp.zeros_like(a) if v is None else v for a, v in zip(like, cotangents, strict=True)]


def bind_forward(rule: Any, args: Arrays, *, save: bool) -> Arrays:
    """`Rule.forward` as a primitive: the outputs, then what is saved."""
    return tuple(_forward_p.bind(*args, rule=rule, save=save))


def bind_backward(
    rule: Any, operands: BackwardOperands, given: tuple[bool, ...], needed: tuple[bool, ...]
) -> Arrays:
    """`Rule.backward` as a primitive: the gradients of the arguments that are needed."""
    flat = (array for arrays in operands for array in arrays)
    saved = len(operands.saved)
    return tuple(_backward_p.bind(*flat, rule=rule, saved=saved, given=given, needed=needed))


_forward_p = jax.extend.core.Primitive("lstm_forward")
_tangent_p = jax.extend.core.Primitive("lstm_tangent")
_backward_p = jax.extend.core.Primitive("lstm_backward")


# What each primitive computes.


def _forward(*args: jax.Array, rule: Any, save: bool, native: Native = "no") -> Arrays:
    outs, saved = rule.forward(*args, save=save, native=native)
    return (*outs, *saved)


def _tangent(
    *operands: jax.Array, rule: Any, differentiated: tuple[bool, ...], native: Native = "no"
) -> Arrays:
    """``J(a) t`` of arguments, outputs, saved arrays, and tangents of what is differentiated."""
    del native
    args = operands[: len(differentiated)]
    some = operands[len(operands) - sum(differentiated) :]
    tangents = tuple(
        _no_tangent(arg) if t is None else t
        for arg, t in zip(args, spread(differentiated, some), strict=True)
    )
    return tuple(jax.jvp(rule.reference, args, tangents)[1])


def _backward(
    *operands: jax.Array,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    needed: tuple[bool, ...],
    native: Native = "no",
) -> Arrays:
    args, outs, kept, some = _split(operands, saved, given, needed)
    return tuple(rule.backward(args, outs, kept, spread(given, some), needed, native=native))


def _reference_backward(
    *operands: jax.Array, rule: Any, saved: int, given: tuple[bool, ...], needed: tuple[bool, ...]
) -> Arrays:
    """``J(a)^T v`` by the reference, for derivatives of it."""
    args, _, _, some = _split(operands, saved, given, needed)
    return reference_gradients(rule, args, spread(given, some), needed)


def reference_gradients(
    rule: Any, args: Arrays, cotangents: Sequence[jax.Array | None], needed: tuple[bool, ...]
) -> Arrays:
    """The gradients that JAX derives from the reference of a rule."""

    def of_needed(*some: jax.Array) -> Arrays:
        mixed = spread(needed, some)
        return rule.reference(*(b if a is None else a for a, b in zip(mixed, args, strict=True)))

    outs, pull_back = jax.vjp(of_needed, *select(needed, args))
    return pull_back(tuple(filled(cotangents, outs)))


def _split(
    operands: Sequence[Any], saved: int, given: tuple[bool, ...], needed: tuple[bool, ...]
) -> BackwardOperands:
    first = len(needed)
    second = first + len(given)
    third = second + saved
    operands = tuple(operands)
    return BackwardOperands(
        operands[:first], operands[first:second], operands[second:third], operands[third:]
    )


# Types of the results.


def _forward_types(*args: Any, rule: Any, save: bool) -> list[Any]:
    outs = rule.out_types(*args)
    return _like(args, [*outs, *rule.saved_types(*args)] if save else outs)


def _tangent_types(*operands: Any, rule: Any, differentiated: tuple[bool, ...]) -> list[Any]:
    args = operands[: len(differentiated)]
    return _like(args, rule.out_types(*args))


def _backward_types(*operands: Any, rule: Any, needed: tuple[bool, ...], **rest: Any) -> list[Any]:
    del rule, rest
    args = operands[: len(needed)]
    return _like(args, select(needed, args))


def _like(args: Sequence[Any], types: Sequence[Any]) -> list[Any]:
    """Types with the shapes and dtypes given, on the mesh of the arguments.

    Inside of `shard_map` they vary over every axis of the mesh over which an argument does.
    """
    like = next((arg for arg in args if not arg.sharding.mesh.empty), args[0])
    varies = like.manual_axis_type
    varies = varies.update(varying=varies.varying.union(*(_varying(arg) for arg in args)))
    return [
        like.update(
            shape=of.shape,
            dtype=of.dtype,
            weak_type=False,
            sharding=NamedSharding(like.sharding.mesh, PartitionSpec(*[None] * len(of.shape))),
            manual_axis_type=varies,
        )
        for of in types
    ]


def _varying(aval: Any) -> frozenset[Any]:
    return aval.manual_axis_type.varying


# Derivatives and transposes.


def _no_tangent(array: Any) -> Any:
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return jnp.zeros_like(array)
    return np.zeros(array.shape, jax.dtypes.float0)


def _has_tangent(tangent: Any) -> bool:
    return type(tangent) is not ad.Zero and tangent.dtype != jax.dtypes.float0


def _forward_jvp(primals: Arrays, tangents: Sequence[Any], *, rule: Any, save: bool) -> Any:
    out = bind_forward(rule, primals, save=True)
    differentiated = tuple(map(_has_tangent, tangents))
    some = select(differentiated, tangents)
    dots = _tangent_p.bind(*primals, *out, *some, rule=rule, differentiated=differentiated)
    if not save:
        return out[: len(dots)], dots
    # What is saved needs no derivative: see above.
    return out, [*dots, *(ad.Zero(jax.typeof(a)) for a in out[len(dots) :])]


def _tangent_jvp(primals: Arrays, tangents: Sequence[Any], **params: Any) -> Any:
    return _jvp_of(functools.partial(_tangent, **params), primals, tangents)


def _backward_jvp(primals: Arrays, tangents: Sequence[Any], **params: Any) -> Any:
    return _jvp_of(functools.partial(_reference_backward, **params), primals, tangents)


def _jvp_of(f: Callable[..., Arrays], primals: Arrays, tangents: Sequence[Any]) -> Any:
    dots = [
        _no_tangent(p) if type(t) is ad.Zero else t for p, t in zip(primals, tangents, strict=True)
    ]
    return jax.jvp(f, primals, tuple(dots))


def _tangent_transpose(
    cotangents: Sequence[Any], *operands: Any, rule: Any, differentiated: tuple[bool, ...]
) -> list[Any]:
    fixed = len(operands) - sum(differentiated)
    tangents = spread(differentiated, operands[fixed:])
    needed = tuple(ad.is_undefined_primal(t) for t in tangents)
    args, rest = operands[: len(differentiated)], operands[len(differentiated) : fixed]
    given = tuple(type(v) is not ad.Zero for v in cotangents)
    outs, saved = rest[: len(cotangents)], rest[len(cotangents) :]
    known = BackwardOperands(args, outs, saved, select(given, cotangents))
    gradients = spread(needed, bind_backward(rule, known, given, needed))
    return [None] * fixed + list(select(differentiated, gradients))


def _backward_transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    needed: tuple[bool, ...],
) -> list[Any]:
    args, outs, kept, some = _split(operands, saved, given, needed)
    tangents = spread(needed, cotangents, ad.Zero)
    differentiated = tuple(
        need and type(t) is not ad.Zero for t, need in zip(tangents, needed, strict=True)
    )
    known = select(differentiated, tangents)
    dots = _tangent_p.bind(*args, *outs, *kept, *known, rule=rule, differentiated=differentiated)
    of_given = zip(select(given, dots), some, strict=True)
    back = [dot if ad.is_undefined_primal(v) else None for dot, v in of_given]
    return [None] * (len(operands) - len(some)) + back


# `vmap`.


def _forward_batched(
    args: Arrays, axes: Sequence[int | None], *, rule: Any, save: bool
) -> tuple[Arrays, Sequence[int | None]]:
    return rule.batched_forward(_size(args, axes), args, tuple(axes), save=save)


def _tangent_batched(operands: Arrays, axes: Sequence[int | None], **params: Any) -> Any:
    out = jax.vmap(functools.partial(_tangent, **params), tuple(axes))(*operands)
    return out, [0] * len(out)


def _backward_batched(
    operands: Arrays,
    axes: Sequence[int | None],
    *,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    needed: tuple[bool, ...],
) -> tuple[Arrays, Sequence[int | None]]:
    return rule.batched_backward(
        _size(operands, axes),
        _split(operands, saved, given, needed),
        _split(axes, saved, given, needed),
        given,
        needed,
    )


def _size(arrays: Sequence[Any], axes: Sequence[int | None]) -> int:
    return next(a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None)


# Dead code.


def _forward_without_unused(used: list[bool], *rest: Any) -> Any:
    """Save nothing that is not read, as in the forward pass of a checkpoint."""
    equation = rest[-1]  # from JAX 0.12 on, which inputs are live comes before it
    if not any(used) and not equation.effects:
        return [False] * len(equation.invars), None
    everything = [True] * len(equation.invars)
    rule, avals = equation.params["rule"], [v.aval for v in equation.invars]
    outs = len(rule.out_types(*avals))
    if not equation.params["save"] or any(used[outs:]):
        return everything, equation
    params = {**equation.params, "save": False}
    return everything, equation.replace(outvars=equation.outvars[:outs], params=params)


def _register(
    primitive: Any,
    f: Callable[..., Arrays],
    types: Callable[..., list[Any]],
    jvp: Callable[..., Any],
    batch: Callable[..., Any],
) -> None:
    def abstract(*avals: Any, **params: Any) -> Any:
        if any(axis is not None for aval in avals for axis in aval.sharding.spec):
            # On a mesh with explicit axes, only the operations themselves give the shardings.
            return jax.make_jaxpr(functools.partial(f, **params))(*avals).out_avals
        return types(*avals, **params)

    primitive.multiple_results = True
    primitive.def_abstract_eval(abstract)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    register_compilation(primitive, f)


_register(_forward_p, _forward, _forward_types, _forward_jvp, _forward_batched)
_register(_tangent_p, _tangent, _tangent_types, _tangent_jvp, _tangent_batched)
_register(_backward_p, _backward, _backward_types, _backward_jvp, _backward_batched)
ad.primitive_transposes[_tangent_p] = _tangent_transpose
ad.primitive_transposes[_backward_p] = _backward_transpose
pe.dce_rules[_forward_p] = _forward_without_unused
