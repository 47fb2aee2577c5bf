"""How a primitive is compiled: with native code where the program will run, else as plain JAX."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.interpreters import mlir

Native = Literal["no", "here", "split"]
"""Whether native code may be called: not at all, on one device, or split over several."""


def register_compilation(primitive: Any, f: Callable[..., Any]) -> None:
    """Compile a primitive, inside of `jit` and outside.

    Args:
      primitive: a primitive, with a parameter ``rule`` whose ``platform`` has native code.
      f: what it computes, a function of its operands and parameters, and of ``native``.
    """
    primitive.def_impl(_jitted(primitive))
    mlir.register_lowering(primitive, _lowered(f, ""))
    for platform in ("cpu", "cuda"):
        mlir.register_lowering(primitive, _lowered(f, platform), platform=platform)
    _require_devices(primitive)
    _check_floats(primitive)


def _jitted(primitive: Any) -> Callable[..., Any]:
    """Outside of `jit`, compile once for equal parameters."""

    @functools.lru_cache(maxsize=256)
    def compiled(params: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
        def run(*operands: jax.Array) -> Any:
            return primitive.bind(*operands, **dict(params))

        # `jax.debug_nans` names this primitive, and does not look for another one inside of it.
        run.__qualname__ = primitive.name
        run._apply_primitive = True  # pyright: ignore[reportFunctionMemberAccess]
        return jax.jit(run)

    def run(*operands: jax.Array, **params: Any) -> Any:
        with jax.disable_jit(False):  # otherwise `compiled` would call this function again
            return compiled(tuple(sorted(params.items())))(*operands)

    return run


def _lowered(f: Callable[..., Any], platform: str) -> Callable[..., Any]:
    def lower(ctx: Any, *operands: Any, **params: Any) -> Any:
        # Platforms without native code are registered under an empty name.
        here = bool(platform) and params["rule"].platform == platform
        native = _placement(ctx.module_context) if here else "no"
        return mlir.lower_fun(functools.partial(f, native=native))(ctx, *operands, **params)

    return lower


def _placement(module: Any) -> Native:
    """Where a program that is being compiled will run."""
    if module.lowering_parameters.for_export:
        return "no"  # an exported program may run on another machine
    devices = module.axis_context
    if hasattr(devices, "manual_axes"):  # inside of `shard_map`
        return "here" if set(devices.manual_axes) == set(devices.mesh.axis_names) else "no"
    if getattr(devices, "num_devices", 0) == 1:
        return "here"
    return "split" if getattr(devices, "device_assignment", None) else "no"


def _require_devices(primitive: Any) -> None:
    """Make JAX pass the devices of a program to the lowering rule of a primitive."""
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering as primitives
    except ImportError:  # in another JAX; then the call is not split
        return
    primitives.add(primitive)


def _check_floats(primitive: Any) -> None:
    """Make `checkify.float_checks` find NaN in the results of a primitive."""
    try:
        from jax._src.checkify import error_checks, nan_error_check
    except ImportError:  # in another JAX; then only what follows the primitive is checked
        return
    error_checks[primitive] = functools.partial(nan_error_check, primitive)
