"""Helpers for tests of conversions: golden vectors of other libraries, and random parameters."""

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

import lstm_jax as lj
from lstm_jax import convert
from lstm_jax.testing import quick_jit
from lstm_jax.transforms.sizes import param_shapes
from tests.helpers import reference

GOLDEN = Path(__file__).parents[1] / "golden"
EXACT = {"float32": 1e-6, "float64": 1e-12}
LIBRARIES = ("torch", "keras", "flax", "haiku", "equinox", "cudnn")
SIZES = {  # of cuDNN's vectors, which do not contain their sizes
    "one": (3, 4, 1, False),
    "bidirectional": (3, 4, 1, True),
    "two_layers": (3, 4, 2, False),
    "everything": (3, 4, 2, True),
}


class Vector(NamedTuple):
    """A layer of another library: its weights, an input, and its outputs and final states."""

    weights: Any
    xs: np.ndarray
    outputs: np.ndarray
    states: list[np.ndarray]


@functools.cache
def arrays(library: str) -> dict[str, np.ndarray]:
    """Return all golden arrays of a library by path."""
    with np.load(GOLDEN / f"{library}.npz") as file:
        return dict(file)


def cases(library: str) -> list[str]:
    """Return the names of a library's golden vectors."""
    return list(dict.fromkeys(name.split("/")[0] for name in arrays(library)))


def arrays_under(library: str, path: str) -> Any:
    """Return the arrays under a path, in their original dicts and lists."""
    selected = {
        name.removeprefix(path): array
        for name, array in arrays(library).items()
        if name.startswith(path)
    }
    if library == "haiku":  # whose own names contain slashes
        parts = {name.rpartition("/")[0]: {} for name in selected}
        for name, array in selected.items():
            module, _, part = name.rpartition("/")
            parts[module][part] = array
        return parts.get("", parts)
    return _nest(selected)


def _nest(by_path: dict[str, Any]) -> Any:
    if [*by_path] == [""]:
        return by_path[""]
    parts = {}
    for name, array in by_path.items():
        first, _, rest = name.partition("/")
        parts.setdefault(first, {})[rest] = array
    inner = {name: _nest(part) for name, part in parts.items()}
    return list(inner.values()) if all(name.isdigit() for name in inner) else inner


def vector(library: str, case: str, dtype: str = "float32") -> Vector:
    """Return a golden vector; its float32 weights and input are cast to the dtype."""

    def cast(array: np.ndarray) -> np.ndarray:
        return array.astype(dtype)

    states = []
    while (name := f"{case}/{dtype}/{len(states)}") in arrays(library):
        states.append(arrays(library)[name])
    assert states
    return Vector(
        weights=jax.tree.map(cast, arrays_under(library, f"{case}/weights/")),
        xs=cast(arrays(library)[f"{case}/xs"]),
        outputs=arrays(library)[f"{case}/{dtype}/outputs"],
        states=states,
    )


def to_params(library: str, theirs: Any) -> Any:
    """Convert weights of a library; those of cuDNN must have the size of a golden vector."""
    lengths = {rnn.get_num_params_in_lstm(*sizes): sizes for sizes in SIZES.values()}
    sizes = lengths[jnp.size(theirs)] if library == "cudnn" else ()
    return getattr(convert, library).to_params(theirs, *sizes)


def to_cell(library: str, case: str, theirs: Any) -> tuple[Any, Any]:
    """Return the cell and the parameters of a golden vector."""
    if library == "haiku":
        return convert.haiku.to_cell(theirs)
    if (library, case) == ("keras", "gru_no_bias"):
        params = convert.keras.to_params(theirs, reset_after=True)
    else:
        params = to_params(library, theirs)
    activation = jax.nn.relu if case == "rnn_relu" else None  # weights do not tell it
    return convert.cell_of(params, activation=activation), params


def random_params(cell: Any) -> Any:
    """Return normal random parameters of any cell; faster than `init`, and nonzero everywhere."""
    normal = np.random.default_rng(0).standard_normal
    return jax.tree.map(lambda s: jnp.asarray(normal(s.shape), s.dtype), param_shapes(cell))


def round_trip(library: str, params: Any, **settings: Any) -> Any:
    """Convert parameters to weights of a library and back, in one compiled function for speed."""

    def both(params: Any) -> Any:
        return to_params(library, getattr(convert, library).from_params(params, **settings))

    return quick_jit(both)(params)


@functools.cache
def compiled_unroll(cell: Any) -> Callable[..., Any]:
    """Return a compiled `unroll` of a cell."""
    return quick_jit(functools.partial(lj.unroll, cell))


def max_error(cell: Any, params: Any, theirs: Vector) -> float:
    """Return the largest relative error of our outputs and final states against theirs."""
    final, outputs = compiled_unroll(cell)(params, jnp.asarray(theirs.xs))
    states = jax.tree.leaves(final)
    assert outputs.dtype == theirs.outputs.dtype
    return max(
        reference.relative_error(a, b)
        for a, b in zip([outputs, *states], [theirs.outputs, *theirs.states], strict=True)
    )


def identical(a: Any, b: Any) -> bool:
    """Return whether two trees are bitwise equal, with equal structure and dtypes."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@st.composite
def parameters(
    draw: Any, directions: bool = True, projection: bool = False, uniform: bool = False
) -> Any:
    """Draw parameters of one layer, or of a stack of one or two, in a dtype that needs no x64."""
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]))
    # Few sizes, as every new shape is compiled.
    kinds = st.tuples(st.sampled_from([1, 3]), st.booleans() if directions else st.just(False))
    projected, kind = projection and draw(st.booleans()), draw(kinds)
    inputs, layers = draw(st.sampled_from([1, 2])), []
    for _ in range(draw(st.sampled_from([1, 2]))):
        H, both = kind if uniform else draw(kinds)
        # PyTorch requires P < H.
        units, outputs = (H + 1, H) if projected else (H, H)
        shapes = [(inputs, 4 * units), (outputs, 4 * units), (4 * units,), (units, outputs)]
        params_type = lj.ProjectedLSTMParams if projected else lj.LSTMParams
        shapes = shapes[: len(params_type._fields)]
        sides = [
            params_type(*(jnp.asarray(random.normal(size=shape), dtype) for shape in shapes))
            for _ in range(1 + both)
        ]
        layers.append(lj.Directions(*sides) if both else sides[0])
        inputs = outputs * (1 + both)
    return tuple(layers) if len(layers) > 1 or draw(st.booleans()) else layers[0]


def unwrap_single_layer(params: Any) -> Any:
    """Return the only layer of a stack of one, as libraries do that do not distinguish them."""
    return params[0] if type(params) is tuple and len(params) == 1 else params


def refused(path: str | os.PathLike[str], message: str) -> Any:
    """Expect `torch.load_file` to refuse a file with this message."""
    prefix = re.escape(f"torch.load_file: {path}: ")
    return pytest.raises(ValueError, match=f"^{prefix}.*{re.escape(message)}")
