"""Weights of PyTorch that are stored as other tensors, from which its modules compute them.

For a weight ``w`` of a module, such as ``weight_hh_l0``:

    weight_norm, old       w_g, w_v                                          g v / ||v||
    weight_norm            parametrizations.w.original0, .original1          g v / ||v||
    spectral_norm, old     w_orig, w_u, w_v                                  W / (u W v)
    spectral_norm          parametrizations.w.original, .0._u, .0._v         W / (u W v)
    prune                  w_orig, w_mask                                    W * mask
    weight drop            w_raw                                             W

These are the weights of a module in evaluation mode. A weight drop, as of AWD-LSTMs, drops entries
of ``w_raw`` in training only; a copy of one such draw, stored as ``w``, is ignored. Some wrappers
keep ``w_raw`` themselves, and the other weights under ``module.``.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.convert.checks import as_arrays
from lstm_jax.types import promote_dtypes

_WEIGHT = r"(?:weight|bias)_[ih][hr](?:_l\d+)?(?:_reverse)?"
_STORED = (
    re.compile(rf"(.*?)parametrizations\.({_WEIGHT})\.(.+)"),
    re.compile(rf"(.*?)({_WEIGHT})_(g|v|u|orig|mask|raw)"),
)


def _weight_norm(g: jax.Array, v: jax.Array) -> jax.Array:
    """``g v / ||v||``, with one norm for every entry of ``g``."""
    axes = tuple(axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis] == 1)
    return g * v / jnp.sqrt(jnp.sum(v * v, axis=axes, keepdims=True))


def _spectral_norm(weight: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    """``W / (u W v)``: W divided by its largest singular value, as u and v estimate it."""
    return weight / (u @ weight @ v)


_FORMULAS = {
    ("",): None,
    ("raw",): None,
    ("g", "v"): _weight_norm,
    ("original0", "original1"): _weight_norm,
    ("orig", "u", "v"): _spectral_norm,
    ("original", "0._u", "0._v"): _spectral_norm,
    ("orig", "mask"): jnp.multiply,
}

Stored = Mapping[str, str]
"""Full names of the tensors that store a weight, by part; that of a plain weight is ``""``."""


def stored_weights(names: Iterable[Any]) -> dict[Any, Stored]:
    """Return the names of weights, and how each is stored.

    Args:
      names: the names in a state dict.

    Returns:
      The stored parts of each weight by its name in a module without reparametrizations.

    >>> stored_weights(["weight_hh_l0_g", "weight_hh_l0_v"])
    {'weight_hh_l0': {'g': 'weight_hh_l0_g', 'v': 'weight_hh_l0_v'}}
    >>> stored_weights(["bias_hh_l0"])
    {'bias_hh_l0': {'': 'bias_hh_l0'}}
    """
    weights: dict[Any, Any] = {}
    wrappers = []
    for name in names:
        matches = [each.fullmatch(name) for each in _STORED] if isinstance(name, str) else []
        prefix, weight, part = next((match.groups() for match in matches if match), ("", name, ""))
        if part == "raw":
            weights[prefix + weight] = {}  # without a copy of it
            wrappers.append(prefix)
        parts = weights.setdefault(prefix + weight if part else name, {})
        if "raw" not in parts:
            parts[part] = name
    for prefix in wrappers:
        weights = _unwrapped(weights, prefix)
    return weights


def _unwrapped(weights: dict[Any, Any], prefix: str) -> dict[Any, Any]:
    """Return the weights under ``module.`` as if they were those of the wrapper with this prefix.

    The wrapper's own weights replace copies of them in the module.
    """
    inner = f"{prefix}module."
    unwrapped = {n: f"{prefix}{n.removeprefix(inner)}" for n in weights if str(n).startswith(inner)}
    outer = {name: stored for name, stored in weights.items() if name not in unwrapped}
    return {short: weights[name] for name, short in unwrapped.items()} | outer


def compute_weights(
    function: str, state: Mapping[str, Any], weights: Mapping[str, Stored]
) -> dict[str, Any]:
    """Convert tensors to arrays, and compute the weights that are stored as other tensors.

    Args:
      function: the public function to name in errors.
      state: the state dict.
      weights: the stored parts of each weight.

    Returns:
      Arrays by the names in `weights`. Those that are computed are computed in float32 at least,
      and rounded once.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.
      ValueError: when a weight is stored in another way, or shapes do not match.

    >>> state = {"w_orig": jnp.array([1.5, 2.0]), "w_mask": jnp.array([0.0, 1.0])}
    >>> compute_weights("torch.to_params", state, {"w": {"orig": "w_orig", "mask": "w_mask"}})
    {'w': Array([0., 2.], dtype=float32)}
    """
    formulas = {name: _formula(function, name, stored) for name, stored in weights.items()}
    every = {name: state[name] for stored in weights.values() for name in stored.values()}
    arrays = as_arrays(function, every)
    computed = {}
    for name, parts in formulas.items():
        stored = {weights[name][part]: arrays[weights[name][part]] for part in parts}
        formula = _FORMULAS[parts]
        [first, *_] = stored.values()
        computed[name] = first if formula is None else _apply(function, formula, stored)
    return computed


def _formula(function: str, name: str, stored: Stored) -> tuple[str, ...]:
    """Return the parts in the order of their formula."""
    for parts in _FORMULAS:
        if stored.keys() == set(parts):
            return parts
    raise ValueError(
        f"{function}: {name} is stored as {', '.join(stored.values())}, which is no weight norm,"
        " spectral norm, pruning or weight drop: make it a plain weight first, for example with"
        " torch.nn.utils.parametrize.remove_parametrizations"
    )


def _apply(
    function: str, formula: Callable[..., jax.Array], stored: Mapping[str, Any]
) -> jax.Array:
    arrays = [jnp.asarray(array) for array in stored.values()]
    dtype = promote_dtypes(arrays[0].dtype, jnp.float32)
    try:
        weight = formula(*(array.astype(dtype) for array in arrays))
    except (TypeError, ValueError) as error:
        shapes = ", ".join(f"{name} {jnp.shape(array)}" for name, array in stored.items())
        raise ValueError(f"{function}: shapes do not match: {shapes}") from error
    return weight.astype(arrays[0].dtype)
