"""Floating-point operations of the matrix products in a function, counted before it is compiled."""

import math
from collections.abc import Callable
from typing import Any

import jax


def product_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """The operations of all matrix products and convolutions in a function.

    They are counted in its jaxpr, where the steps of a scan are known: XLA's own analysis counts
    the body of a loop once. A product of ``[M, K]`` and ``[K, N]`` has ``2 M K N``. The body of a
    `while_loop`, whose steps are not known, counts once, and of a `cond` the larger branch.

    Args:
      function: the function.
      *arguments: its arguments, or their shapes.

    Returns:
      The number of multiplications and additions.

    >>> import jax.numpy as jnp
    >>> product_flops(jnp.matmul, jnp.ones((2, 3)), jnp.ones((3, 5)))
    60
    >>> def power(a):
    ...     return jax.lax.scan(lambda x, _: (x @ a, None), a, length=9)[0]
    >>> product_flops(power, jnp.ones((2, 2)))
    144
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> int:
    kind, params = equation.primitive.name, equation.params
    if kind == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return (
            2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        )
    if kind == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // outputs
    if kind == "cond":
        return max(_of_jaxpr(branch.jaxpr) for branch in params["branches"])
    inside = sum(map(_of_jaxpr, _jaxprs(params.values())))
    return params["length"] * inside if kind == "scan" else inside


def _jaxprs(values: Any) -> list[Any]:
    """The jaxprs among the parameters of an equation."""
    found = []
    for value in values:
        if isinstance(value, tuple | list):
            found += _jaxprs(value)
        elif hasattr(value, "jaxpr"):
            found.append(value.jaxpr)
        elif hasattr(value, "eqns"):
            found.append(value)
    return found
