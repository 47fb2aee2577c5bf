"""Random cells, sequences and options, and the reference that they are tested against."""

import functools
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

import lstm_jax as lj
from lstm_jax.testing import quick_jit, reference_unroll
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import apply, initial_state, output_of, sample_params

LSTM_LIKE_CELLS = [
    lj.LSTM,
    lj.OriginalLSTM,
    lj.PeepholeLSTM,
    lj.CoupledLSTM,
    lj.RefinedLSTM,
    lj.LayerNormLSTM,
    lj.GRU,
    lj.TanhRNN,
]


class Case(NamedTuple):
    """A cell, a sequence, and the options of `unroll`."""

    cell: Any
    dtype: Any
    T: int
    batch: tuple[int, ...]
    mask: np.ndarray | None
    lengths: np.ndarray | None
    reset: np.ndarray | None
    options: dict[str, Any]
    key: Any
    seed: int


@st.composite
def single_cells(draw, input_size: int, dtype: Any) -> Any:
    """A bare cell with this number of input features."""
    units = draw(st.integers(1, 3))
    kind = draw(
        st.sampled_from([*LSTM_LIKE_CELLS, lj.ProjectedLSTM, lj.SLSTM, lj.MLSTM, lj.MinLSTM])
    )
    if kind is lj.ProjectedLSTM:
        return kind(input_size, units, projection_size=draw(st.integers(1, 2)), dtype=dtype)
    if kind is lj.MLSTM:
        return kind(input_size, 2 * units, num_heads=2, dtype=dtype)
    return kind(input_size, units, dtype=dtype)


TRANSFORMS = {
    "dropout": lambda cell: lj.dropout(cell, 0.3),
    "variational dropout": lambda cell: lj.dropout(cell, 0.3, variational=True),
    "recurrent dropout": lambda cell: lj.recurrent_dropout(cell, 0.3),
    "candidate dropout": lambda cell: lj.candidate_dropout(cell, 0.3),
    "zoneout": lambda cell: lj.zoneout(cell, h=0.2, c=0.4),
    "clip": lambda cell: lj.clip(cell, h=0.4),
    "learned": lj.learned_initial_state,
    "skip": lj.skip,
    "weight drop": lambda cell: lj.weight_drop(cell, 0.3, names=["bias"]),
}


@st.composite
def cells(draw, input_size: int, dtype: Any, depth: int = 3) -> Any:
    """Any transform of any transform of any cell."""
    if depth == 0 or draw(st.booleans()):
        return draw(single_cells(input_size, dtype))
    name = draw(st.sampled_from([*TRANSFORMS, "stack", "residual"]))
    inner = draw(cells(input_size, dtype, depth - 1))
    if name == "stack":
        return lj.stack(inner, draw(cells(output_size(inner), dtype, depth - 1)))
    if name == "residual" and output_size(inner) == input_size:
        return lj.residual(inner)
    try:
        return TRANSFORMS.get(name, lambda cell: cell)(inner)
    except TypeError:  # a cell inside has no candidate, or no memory besides h
        return inner


def output_size(cell: Any) -> int:
    """Number of output features, from a step."""
    x = jax.ShapeDtypeStruct((cell.input_size,), jnp.float32)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    return jax.eval_shape(
        lambda p, x: apply(cell, p, initial_state(cell, p, ()), x)[1], params, x
    ).shape[-1]


@st.composite
def cases(draw, dtypes: Any = (jnp.float64,)) -> Case:
    """A cell, a sequence and options, small enough for a Python loop."""
    dtype = draw(st.sampled_from(dtypes))
    with jax.enable_x64(True):  # transforms read the dtypes of parameters
        cell = draw(cells(draw(st.integers(1, 3)), dtype))
    T, batch = draw(st.integers(1, 6)), draw(st.sampled_from([(), (1,), (2,), (3,), (2, 2)]))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    mask = lengths = None
    match draw(st.sampled_from(["whole", "lengths", "mask"])):
        case "lengths":
            lengths = random.integers(0, T + 1, batch)
            mask = np.arange(T).reshape(T, *[1] * len(batch)) < lengths
        case "mask":
            mask = random.random((T, *batch)) < 0.6
    reset = random.random((T, *batch)) < 0.3 if draw(st.booleans()) else None
    options = {
        "reverse": draw(st.booleans()),
        "padding": draw(st.sampled_from(["zero", "hold", "raw"])),
        "remat": draw(st.sampled_from([None, None, "step", 1, 2, 3, 7])),
        "unroll": draw(st.sampled_from([1, 1, 2, 4])),
        "implementation": draw(st.sampled_from([None, "scan", "cpu", "parallel"])),
    }
    key = draw(st.sampled_from([None, jax.random.key(7)]))
    return Case(
        cell, dtype, T, batch, mask, lengths, reset, options, key, draw(st.integers(0, 1000))
    )


def numbers(case: Case) -> tuple[Any, Any, Any]:
    """Parameters, inputs and a state that the cell can reach, rounded to the case's dtype."""
    k_params, k_xs, k_state = jax.random.split(jax.random.key(case.seed), 3)
    params = case.cell.init(k_params)
    size = case.cell.input_size
    xs = jax.random.normal(k_xs, (case.T, *case.batch, size), jnp.float32).astype(case.dtype)
    before = jax.random.normal(k_state, (*case.batch, size), jnp.float32).astype(case.dtype)
    state = initial_state(case.cell, params, case.batch)
    return params, xs, quick_jit(functools.partial(apply, case.cell))(params, state, before)[0]


def slow(case: Case, params: Any, xs: Any, state: Any) -> tuple[Any, Any]:
    """A Python loop over single steps: row by row, or with random numbers for all rows at once.

    The rows of a batch draw from one key.
    """
    valid = np.ones((case.T, *case.batch), bool) if case.mask is None else case.mask
    if case.key is None:
        reverse, padding = case.options["reverse"], case.options["padding"]
        return reference_unroll(
            case.cell,
            params,
            xs,
            state,
            mask=valid,
            reset=case.reset,
            reverse=reverse,
            padding=padding,
        )
    return _all_rows(case, valid, sample_params(case.cell, params, case.key), xs, state)


def _order(case: Case) -> Any:
    return range(case.T - 1, -1, -1) if case.options["reverse"] else range(case.T)


def _all_rows(case: Case, valid: Any, params: Any, xs: Any, state: Any) -> Any:
    """A loop over the steps of all rows at once; masked rows keep their state and output."""
    zeros, step = jnp.zeros_like(xs[0]), jax.jit(functools.partial(apply, case.cell))
    last, ys = output_of(case.cell, state, zeros), {}
    for t in _order(case):
        here = jnp.asarray(valid[t])
        if case.reset is not None:
            own = _like(initial_state(case.cell, params, case.batch), state)
            state = _rows(jnp.asarray(case.reset[t] & valid[t]), own, state)
        rng = StepRng(case.key, jnp.asarray(t, jnp.int32))
        x_t = _rows(here, xs[t], zeros)
        new, y = step(params, state, x_t, rng)
        ys[t] = _rows(here, y, _padded(case, last, y))
        last = _rows(here, y, last)
        state = _rows(here, new, state)
    return state, jnp.stack([ys[t] for t in range(case.T)])


def _padded(case: Case, last: Any, raw: Any) -> Any:
    """The output at masked steps."""
    return {"zero": jnp.zeros_like(last), "hold": last, "raw": raw}[case.options["padding"]]


def _rows(here: Any, a: Any, b: Any) -> Any:
    return jax.tree.map(
        lambda x, y: jnp.where(here.reshape(here.shape + (1,) * (x.ndim - here.ndim)), x, y), a, b
    )


def _like(tree: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: a.astype(b.dtype), tree, other)
