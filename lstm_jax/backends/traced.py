"""The scan of a step that may change: traced at every call, compiled once for equal programs.

A step function may close over what changes between calls, and JAX would not see it: outside of
`jit`, `lax.scan` traces a function once and trusts it ever after. So the step is traced at every
call. What is traced is compared with what earlier calls traced, equation by equation, and if equal
runs the program compiled for them. A bounded number of programs is kept.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from lstm_jax.types import PyTree

_JAX = f"{os.path.dirname(jax.__file__)}{os.sep}"
_STATIC = (bool, int, float, str, type(None))


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A traced function of arrays, equal to others of the same equations.

    Attributes:
      jaxpr: its equations, with the arrays that it closes over as constants.
      structure: the structure of its results.

    >>> def traced(scale):
    ...     return trace(lambda x: scale * x, np.float32(3))[0]
    >>> traced(2.0) == traced(2.0), traced(2.0) == traced(3.0)
    (True, False)
    """

    jaxpr: Jaxpr
    structure: Any

    def __call__(self, closed_over: list[Any], *args: PyTree) -> PyTree:
        """The results, from the arrays that it closes over and its arguments."""
        run = jaxpr_as_fun(ClosedJaxpr(self.jaxpr, closed_over))
        return jax.tree.unflatten(self.structure, run(*jax.tree.leaves(args)))

    def __hash__(self) -> int:
        names = tuple(equation.primitive.name for equation in self.jaxpr.eqns)
        return hash((names, tuple(v.aval for v in self.jaxpr.invars), self.structure))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Program) or self.structure != other.structure:
            return False
        return _same_jaxpr(self.jaxpr, other.jaxpr)


def trace(function: Callable[..., PyTree], *args: PyTree) -> tuple[Program, list[Any]]:
    """Trace a function anew.

    Args:
      function: a function of arrays.
      args: arrays, or their types.

    Returns:
      The program, and the arrays that the function closes over.
    """
    # A new function each time: JAX would return an earlier trace of the same one.
    closed, shapes = jax.make_jaxpr(lambda *args: function(*args), return_shape=True)(*args)
    return Program(closed.jaxpr, jax.tree.structure(shapes)), list(closed.consts)


def _same_jaxpr(a: Jaxpr, b: Jaxpr) -> bool:
    """Whether two programs have the same equations, whatever their variables are called."""
    if a is b:
        return True
    if [*map(len, (a.constvars, a.invars, a.eqns, a.outvars))] != [
        *map(len, (b.constvars, b.invars, b.eqns, b.outvars))
    ]:
        return False
    names: dict[Var, Var] = {}

    def define(variables: Any, others: Any) -> bool:
        names.update(zip(variables, others, strict=True))
        return all(v.aval == w.aval for v, w in zip(variables, others, strict=True))

    def same(atom: Any, other: Any) -> bool:
        if isinstance(atom, Literal) or isinstance(other, Literal):
            return type(atom) is type(other) and _same_literal(atom, other)
        return names[atom] is other

    def same_atoms(atoms: Any, others: Any) -> bool:
        return len(atoms) == len(others) and all(map(same, atoms, others))

    if not define((*a.constvars, *a.invars), (*b.constvars, *b.invars)):
        return False
    for e, f in zip(a.eqns, b.eqns, strict=True):
        if not (same_atoms(e.invars, f.invars) and _same_equation(e, f)):
            return False
        if len(e.outvars) != len(f.outvars) or not define(e.outvars, f.outvars):
            return False
    return same_atoms(a.outvars, b.outvars)


def _same_equation(a: JaxprEqn, b: JaxprEqn) -> bool:
    """Whether two equations compute the same from the same arguments."""
    params, others = a.params, b.params
    rules = _rule_of_jax(a), _rule_of_jax(b)
    if None not in rules:
        params, others = (
            {**e.params, "jvp_jaxpr_fun": r} for e, r in zip((a, b), rules, strict=True)
        )
    return (
        a.primitive is b.primitive
        and a.effects == b.effects
        and repr(getattr(a, "ctx", None)) == repr(getattr(b, "ctx", None))
        and _same(params, others)
    )


def _rule_of_jax(equation: JaxprEqn) -> tuple[Any, ...] | None:
    """What tells the derivative that a function of JAX has, such as `jax.nn.relu`, from others.

    Such a derivative is a new object in each trace. None where it is another's or not certain: that
    of a user may close over what changes, and so may one of JAX that calls a function or a program
    of a user, as in `jax.lax.custom_root`.
    """
    called = getattr(equation.params.get("call_jaxpr"), "debug_info", None)
    rule = _unwrapped(equation.params.get("jvp_jaxpr_fun"))
    source = getattr(called, "func_src_info", "")
    if rule is None or f" at {_JAX}" not in source:
        return None
    static = []
    for transform, args in rule.transforms:
        if transform.__name__ == "_prepend_static_args":
            static += [getattr(arg, "val", arg) for arg in args[0]]
        elif transform.__name__ != "_flatten_jvp":
            return None
    if not (_is_of_jax(rule.f) and all(type(arg) in _STATIC for arg in static)):
        return None
    return (rule.f, *static)


def _unwrapped(function: Any, depth: int = 3) -> Any:
    """The rule inside of what JAX wraps around one: the first with the transforms of it."""
    if getattr(function, "transforms", None):
        return function
    function = getattr(function, "f", function)
    inside = _closed_over(function) if depth else ()
    return next(filter(None, (_unwrapped(value, depth - 1) for value in inside)), None)


def _closed_over(function: Any) -> list[Any]:
    """The values that a function closes over."""
    return [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]


def _is_of_jax(rule: Any) -> bool:
    """Whether a function is defined in JAX, and closes over nothing but such functions."""
    if isinstance(rule, tuple):
        return all(map(_is_of_jax, rule))
    if isinstance(rule, jax.custom_jvp):
        return _is_of_jax(rule.fun)
    if isinstance(rule, jax.stages.Wrapped):  # by `jax.jit`
        return _is_of_jax(rule.__wrapped__)  # pyright: ignore[reportAttributeAccessIssue]
    code = getattr(rule, "__code__", None)
    of_jax = getattr(code, "co_filename", "").startswith(_JAX)
    return rule is None or (of_jax and all(map(_is_of_jax, _closed_over(rule))))


def _same_literal(a: Literal, b: Literal) -> bool:
    if a.aval != b.aval:
        return False
    if a.val is b.val:
        return True
    x, y = np.asarray(a.val), np.asarray(b.val)
    return x.dtype == y.dtype and x.tobytes() == y.tobytes()  # 0.0 is not -0.0, NaN is NaN


def _same(a: Any, b: Any) -> bool:
    """Whether two parameters of equations are the same; false if that is not certain."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Jaxpr):
        return _same_jaxpr(a, b)
    if isinstance(a, ClosedJaxpr):
        return _same(list(a.consts), list(b.consts)) and _same_jaxpr(a.jaxpr, b.jaxpr)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, jax.Array):
        return False
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)
