"""Functions with a backward pass of their own that lose no transformation of JAX.

`jax.custom_vjp` gives a function a backward pass, and takes forward mode and second derivatives
from it. Here three primitives stand for a function ``f``, its derivative, and its transpose:

============ ============================== ========================= ==============================
primitive    is                             runs as                   derivative; transpose
============ ============================== ========================= ==============================
``run``      ``f(a)``                       a fast form of ``f``      ``tangent``
``tangent``  ``J(a) t``, linear in ``t``    `jax.jvp` of ``f``        as of `jax.jvp`; ``pullback``
``pullback`` ``J(a)^T v``, linear in ``v``  a fast backward pass      as of `jax.vjp`; ``tangent``
============ ============================== ========================= ==============================

So one derivative in reverse mode takes the fast form both ways, and everything else, forward mode
and higher derivatives, goes by the plain definition of ``f``. What ``run`` saves for ``pullback``
is a cache of numbers that follow from ``a``; derivatives of it are never needed.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from lstm_jax.backends.partition import names_devices

Arrays = tuple[jax.Array, ...]
Axes = tuple[int | None, ...]
Native = Literal["no", "here", "split"]


def spread(where: Sequence[bool], values: Sequence[Any], default: Any = None) -> list[Any]:
    """Values where it is true, in order, and a default elsewhere.

    >>> spread([True, False, True], [1, 2])
    [1, None, 2]
    """
    rest = iter(values)
    return [next(rest) if here else default for here in where]


def filled(cotangents: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """Cotangents of arrays, with zeros for None.

    >>> [v.tolist() for v in filled([None, jnp.ones(2)], [jnp.ones(1), jnp.ones(2)])]
    [[0.0], [1.0, 1.0]]
    """
    return [jnp.zeros_like(a) if v is None else v for a, v in zip(like, cotangents, strict=True)]


def bind_run(rule: Any, args: Arrays, *, save: bool) -> Arrays:
    """Run `run` as a primitive: outputs, then what is saved."""
    return tuple(_run_p.bind(*args, rule=rule, save=save))


def bind_pull_back(
    rule: Any,
    operands: tuple[Arrays, Arrays, Arrays, Arrays],
    given: tuple[bool, ...],
    wanted: tuple[bool, ...],
) -> Arrays:
    """Run `pull_back` as a primitive: of arguments, outputs, saved arrays, and given cotangents."""
    args, outs, saved, cotangents = operands
    flat = (*args, *outs, *saved, *cotangents)
    return tuple(_pullback_p.bind(*flat, rule=rule, saved=len(saved), given=given, wanted=wanted))


_run_p = jax.extend.core.Primitive("lstm_run")
_tangent_p = jax.extend.core.Primitive("lstm_tangent")
_pullback_p = jax.extend.core.Primitive("lstm_pullback")


def _run(*args: jax.Array, rule: Any, save: bool, native: Native = "no") -> Arrays:
    outs, saved = rule.run(*args, save=save, native=native)
    return (*outs, *saved)


def _tangent(
    *operands: jax.Array, rule: Any, moving: tuple[bool, ...], native: Native = "no"
) -> Arrays:
    """``J(a) t``: operands are the arguments, what was saved, and tangents where `moving`."""
    del native
    args = operands[: len(moving)]
    some = operands[len(operands) - sum(moving) :]
    tangents = tuple(
        _no_tangent(arg) if t is None else t
        for arg, t in zip(args, spread(moving, some), strict=True)
    )
    return tuple(jax.jvp(rule.define, args, tangents)[1])


def _pull_back(
    *operands: jax.Array,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    wanted: tuple[bool, ...],
    native: Native = "no",
) -> Arrays:
    args, outs, kept, some = _split(operands, saved, given, wanted)
    cotangents = spread(given, some)
    return tuple(rule.pull_back(args, outs, kept, cotangents, wanted, native=native))


def _define_pull_back(
    *operands: jax.Array, rule: Any, saved: int, given: tuple[bool, ...], wanted: tuple[bool, ...]
) -> Arrays:
    """``J(a)^T v`` by the definition, for derivatives of it."""
    args, _, _, some = _split(operands, saved, given, wanted)
    return pull_back_by_definition(rule, args, spread(given, some), wanted)


def pull_back_by_definition(
    rule: Any, args: Arrays, cotangents: Sequence[jax.Array | None], wanted: tuple[bool, ...]
) -> Arrays:
    """The gradients that plain JAX gives for the definition of a rule."""

    def of_wanted(*some: jax.Array) -> Arrays:
        mixed = spread(wanted, some)
        return rule.define(*(b if a is None else a for a, b in zip(mixed, args, strict=True)))

    moving = [arg for arg, want in zip(args, wanted, strict=True) if want]
    outs, pull_back = jax.vjp(of_wanted, *moving)
    return pull_back(tuple(filled(cotangents, outs)))


def _split(
    operands: Sequence[Any], saved: int, given: tuple[bool, ...], wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any, Any]:
    """Operands of the pullback: arguments, outputs, saved arrays, and given cotangents."""
    first = len(wanted)
    second = first + len(given)
    third = second + saved
    operands = tuple(operands)
    return operands[:first], operands[first:second], operands[second:third], operands[third:]


def _no_tangent(array: Any) -> Any:
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return jnp.zeros_like(array)
    return np.zeros(array.shape, jax.dtypes.float0)


def _moves(tangent: Any) -> bool:
    return type(tangent) is not ad.Zero and tangent.dtype != jax.dtypes.float0


def _run_jvp(primals: Arrays, tangents: Sequence[Any], *, rule: Any, save: bool) -> Any:
    out = bind_run(rule, primals, save=True)
    moving = tuple(map(_moves, tangents))
    moved = [t for t in tangents if _moves(t)]
    dots = _tangent_p.bind(*primals, *out, *moved, rule=rule, moving=moving)
    if not save:
        return out[: len(dots)], dots
    # What is saved is a cache: see above.
    return out, [*dots, *(ad.Zero(jax.typeof(a)) for a in out[len(dots) :])]


def _tangent_jvp(primals: Arrays, tangents: Sequence[Any], **params: Any) -> Any:
    return _by_definition(functools.partial(_tangent, **params), primals, tangents)


def _pull_back_jvp(primals: Arrays, tangents: Sequence[Any], **params: Any) -> Any:
    return _by_definition(functools.partial(_define_pull_back, **params), primals, tangents)


def _by_definition(f: Callable[..., Arrays], primals: Arrays, tangents: Sequence[Any]) -> Any:
    dots = [
        _no_tangent(p) if type(t) is ad.Zero else t for p, t in zip(primals, tangents, strict=True)
    ]
    return jax.jvp(f, primals, tuple(dots))


def _tangent_transpose(
    cotangents: Sequence[Any], *operands: Any, rule: Any, moving: tuple[bool, ...]
) -> list[Any]:
    fixed = len(operands) - sum(moving)
    moved = spread(moving, operands[fixed:])
    wanted = tuple(ad.is_undefined_primal(t) for t in moved)
    args, rest = operands[: len(moving)], operands[len(moving) : fixed]
    given = tuple(type(v) is not ad.Zero for v in cotangents)
    known = tuple(v for v in cotangents if type(v) is not ad.Zero)
    outs, saved = rest[: len(cotangents)], rest[len(cotangents) :]
    gradients = bind_pull_back(rule, (args, outs, saved, known), given, wanted)
    by_arg = spread(wanted, gradients)
    return [None] * fixed + [g for g, moves in zip(by_arg, moving, strict=True) if moves]


def _pull_back_transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    wanted: tuple[bool, ...],
) -> list[Any]:
    args, outs, kept, some = _split(operands, saved, given, wanted)
    moved = spread(wanted, cotangents, ad.Zero)
    moving = tuple(want and type(t) is not ad.Zero for t, want in zip(moved, wanted, strict=True))
    tangents = [t for t, moves in zip(moved, moving, strict=True) if moves]
    dots = _tangent_p.bind(*args, *outs, *kept, *tangents, rule=rule, moving=moving)
    of_given = [dot for dot, here in zip(dots, given, strict=True) if here]
    back = [d if ad.is_undefined_primal(v) else None for d, v in zip(of_given, some, strict=True)]
    return [None] * (len(operands) - len(some)) + back


def _run_batched(
    args: Arrays, axes: Sequence[int | None], *, rule: Any, save: bool
) -> tuple[Arrays, Sequence[int | None]]:
    return rule.batched_run(_size(args, axes), args, tuple(axes), save=save)


def _tangent_batched(operands: Arrays, axes: Sequence[int | None], **params: Any) -> Any:
    tangent = jax.vmap(functools.partial(_tangent, **params), tuple(axes))
    out = tangent(*operands)
    return out, [0] * len(out)


def _pull_back_batched(
    operands: Arrays,
    axes: Sequence[int | None],
    *,
    rule: Any,
    saved: int,
    given: tuple[bool, ...],
    wanted: tuple[bool, ...],
) -> tuple[Arrays, Sequence[int | None]]:
    return rule.batched_pull_back(
        _size(operands, axes),
        _split(operands, saved, given, wanted),
        _split(axes, saved, given, wanted),
        given,
        wanted,
    )


def _size(arrays: Sequence[Any], axes: Sequence[int | None]) -> int:
    return next(a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None)


def _run_needed(used: list[bool], *rest: Any) -> Any:
    """Save nothing where nobody reads it, as when a checkpoint runs forward only."""
    equation = rest[-1]  # from JAX 0.12 on, which inputs are live comes before it
    if not any(used) and not equation.effects:
        return [False] * len(equation.invars), None
    everything = [True] * len(equation.invars)
    save = equation.params["save"]
    if not save:
        return everything, equation
    rule, avals = equation.params["rule"], [v.aval for v in equation.invars]
    outs = len(jax.make_jaxpr(rule.define)(*avals).out_avals)
    if any(used[outs:]):
        return everything, equation
    params = {**equation.params, "save": False}
    return everything, equation.replace(outvars=equation.outvars[:outs], params=params)


def _jitted(primitive: Any) -> Callable[..., Any]:
    """Outside of `jit`, compile once for equal parameters."""

    @functools.lru_cache(maxsize=256)
    def compiled(params: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
        def run(*operands: jax.Array) -> Any:
            return primitive.bind(*operands, **dict(params))

        # Where NaN are looked for, this is what to name: there is nothing inside to go on to.
        run.__qualname__ = primitive.name
        run._apply_primitive = True  # pyright: ignore[reportFunctionMemberAccess]
        return jax.jit(run)

    def run(*operands: jax.Array, **params: Any) -> Any:
        with jax.disable_jit(False):  # it would come back here
            return compiled(tuple(sorted(params.items())))(*operands)

    return run


def _lowered(f: Callable[..., Arrays], platform: str) -> Callable[..., Any]:
    def lower(ctx: Any, *operands: Any, **params: Any) -> Any:
        # Other platforms than those with code of their own are lowered for under no name.
        here = bool(platform) and params["rule"].platform == platform
        where = _placement(ctx.module_context) if here else "no"
        return mlir.lower_fun(functools.partial(f, native=where))(ctx, *operands, **params)

    return lower


def _placement(module: Any) -> Native:
    """Where a program that is being compiled will run."""
    if module.lowering_parameters.for_export:
        return "no"  # what is exported is to run elsewhere
    devices = module.axis_context
    if hasattr(devices, "manual_axes"):  # inside of `shard_map`
        return "here" if set(devices.manual_axes) == set(devices.mesh.axis_names) else "no"
    if getattr(devices, "num_devices", 0) == 1:
        return "here"
    return "split" if getattr(devices, "device_assignment", None) else "no"


def _register(
    primitive: Any, f: Callable[..., Arrays], jvp: Callable[..., Any], batch: Callable[..., Any]
) -> None:
    primitive.multiple_results = True
    primitive.def_impl(_jitted(primitive))
    primitive.def_abstract_eval(
        lambda *avals, **params: jax.make_jaxpr(functools.partial(f, **params))(*avals).out_avals
    )
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, _lowered(f, ""))
    for platform in ("cpu", "cuda"):
        mlir.register_lowering(primitive, _lowered(f, platform), platform=platform)
    names_devices(primitive)


_register(_run_p, _run, _run_jvp, _run_batched)
_register(_tangent_p, _tangent, _tangent_jvp, _tangent_batched)
_register(_pullback_p, _pull_back, _pull_back_jvp, _pull_back_batched)
ad.primitive_transposes[_tangent_p] = _tangent_transpose
ad.primitive_transposes[_pullback_p] = _pull_back_transpose
pe.dce_rules[_run_p] = _run_needed
