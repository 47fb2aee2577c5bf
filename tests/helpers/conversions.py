"""What the tests of conversions share: vectors of other libraries, and random parameters."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

import lstm_jax as lj
from lstm_jax import convert
from lstm_jax.testing import quick_jit
from lstm_jax.transforms.transform import param_shapes
from tests.helpers import reference

GOLDEN = Path(__file__).parents[1] / "golden"
EXACT = {"float32": 1e-6, "float64": 1e-12}
LIBRARIES = ("torch", "keras", "flax", "haiku", "equinox", "cudnn")
SIZES = {  # of cuDNN's vectors, which do not say them
    "one": (3, 4, 1, False),
    "bidirectional": (3, 4, 1, True),
    "two_layers": (3, 4, 2, False),
    "everything": (3, 4, 2, True),
}


class Vector(NamedTuple):
    """An LSTM of another library: weights as it gives them, and what it made of an input."""

    weights: Any
    xs: np.ndarray
    outputs: np.ndarray
    states: list[np.ndarray]


@functools.cache
def arrays(library: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{library}.npz") as file:
        return dict(file)


def cases(library: str) -> list[str]:
    return list(dict.fromkeys(name.split("/")[0] for name in arrays(library)))


def arrays_under(library: str, path: str) -> Any:
    """Arrays under a path, in the dicts and lists that they came in."""
    found = {
        name.removeprefix(path): array
        for name, array in arrays(library).items()
        if name.startswith(path)
    }
    if library == "haiku":  # its own names have slashes
        parts = {name.rpartition("/")[0]: {} for name in found}
        for name, array in found.items():
            module, _, part = name.rpartition("/")
            parts[module][part] = array
        return parts.get("", parts)
    return _nested(found)


def _nested(found: dict[str, Any]) -> Any:
    if [*found] == [""]:
        return found[""]
    parts = {}
    for name, array in found.items():
        first, _, rest = name.partition("/")
        parts.setdefault(first, {})[rest] = array
    inner = {name: _nested(part) for name, part in parts.items()}
    return list(inner.values()) if all(name.isdigit() for name in inner) else inner


def vector(library: str, case: str, dtype: str = "float32") -> Vector:
    """A golden vector, its weights in another dtype: they are float32 numbers."""

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
    """Parameters from weights of a library, of one of its golden vectors or of as many."""
    lengths = {rnn.get_num_params_in_lstm(*sizes): sizes for sizes in SIZES.values()}
    sizes = lengths[jnp.size(theirs)] if library == "cudnn" else ()
    return getattr(convert, library).to_params(theirs, *sizes)


def random_params(cell: Any) -> Any:
    """Parameters of any cell with no number of zero; quicker than `init` has them."""
    normal = np.random.default_rng(0).standard_normal
    return jax.tree.map(lambda s: jnp.asarray(normal(s.shape), s.dtype), param_shapes(cell))


def round_trip(library: str, params: Any, **settings: Any) -> Any:
    """What a library's weights from parameters are read as; in one program, which is quicker."""

    def both(params: Any) -> Any:
        return to_params(library, getattr(convert, library).from_params(params, **settings))

    return quick_jit(both)(params)


@functools.cache
def unrolled(cell: Any) -> Callable[..., Any]:
    return quick_jit(functools.partial(lj.unroll, cell))


def error(params: Any, theirs: Vector) -> float:
    """How far our layer with these parameters is from theirs, in outputs and final states."""
    final, outputs = unrolled(convert.cell_of(params))(params, jnp.asarray(theirs.xs))
    states = jax.tree.leaves(final)
    assert outputs.dtype == theirs.outputs.dtype
    return max(
        reference.relative_error(a, b)
        for a, b in zip([outputs, *states], [theirs.outputs, *theirs.states], strict=True)
    )


def identical(a: Any, b: Any) -> bool:
    """Whether two trees are equal to the bit, in structure and dtypes too."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@st.composite
def parameters(
    draw: Any, directions: bool = True, projection: bool = False, uniform: bool = False
) -> Any:
    """Parameters of a layer, or of a stack of two, in any dtype that JAX starts with."""
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]))
    # Few sizes, as every new shape is compiled for.
    kinds = st.tuples(st.sampled_from([1, 3]), st.booleans() if directions else st.just(False))
    projected, kind = projection and draw(st.booleans()), draw(kinds)
    read, layers = draw(st.sampled_from([1, 2])), []
    for _ in range(draw(st.sampled_from([1, 2]))):
        H, both = kind if uniform else draw(kinds)
        # PyTorch wants fewer units shown than there are.
        units, shown = (H + 1, H) if projected else (H, H)
        shapes = [(read, 4 * units), (shown, 4 * units), (4 * units,), (units, shown)]
        made = lj.ProjectedLSTMParams if projected else lj.LSTMParams
        shapes = shapes[: len(made._fields)]
        sides = [
            made(*(jnp.asarray(random.normal(size=shape), dtype) for shape in shapes))
            for _ in range(1 + both)
        ]
        layers.append(lj.Directions(*sides) if both else sides[0])
        read = shown * (1 + both)
    return tuple(layers) if len(layers) > 1 or draw(st.booleans()) else layers[0]


def unwrap_single_layer(params: Any) -> Any:
    """As libraries have it that do not tell a layer from a stack of one."""
    return params[0] if type(params) is tuple and len(params) == 1 else params
