"""What holds for every cell, whatever its equations."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import LSTM, Cell, Policy, TanhRNN
from lstm_jax.cells.coupled import CoupledLSTM
from lstm_jax.cells.gru import GRU
from lstm_jax.cells.layer_norm import LayerNormLSTM
from lstm_jax.cells.original import OriginalLSTM
from lstm_jax.cells.peephole import PeepholeLSTM
from lstm_jax.cells.projected import ProjectedLSTM
from lstm_jax.cells.refined import RefinedLSTM
from tests.helpers.cells import draw

I, H, P = 3, 5, 2  # noqa: E741
MAKE = {
    "original": OriginalLSTM,
    "peephole": PeepholeLSTM,
    "coupled": CoupledLSTM,
    "refined": RefinedLSTM,
    "projected": partial(ProjectedLSTM, projection_size=P),
    "gru": GRU,
    "gru before": partial(GRU, reset_after=False),
    "ba2016": LayerNormLSTM,
    "haste": partial(LayerNormLSTM, variant="haste"),
    "pytorch": partial(LayerNormLSTM, variant="pytorch"),
    "tensorflow": partial(LayerNormLSTM, variant="tensorflow"),
}
EVERY = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
MEMORY = {GRU: "h"}  # the field that holds on to things; in all others c


def tree_equal(a, b):
    return jax.tree.all(jax.tree.map(jnp.array_equal, a, b))


@EVERY
def test_is_a_cell_with_zeros_to_begin_with(make):
    cell = make(I, H)
    assert isinstance(cell, Cell)
    state = cell.initial_state((4, 2))
    assert all(leaf.shape[:2] == (4, 2) and not leaf.any() for leaf in state)


@EVERY
def test_a_cell_is_a_value(make):
    cell = make(I, H)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    assert cell == make(input_size=I, hidden_size=H, dtype="float32")
    assert hash(cell) == hash(make(I, H))
    assert cell not in [make(I, 6), make(4, H), make(I, H, dtype=jnp.bfloat16)]
    assert eval(repr(cell), {type(cell).__name__: type(cell)}) == cell
    assert len(repr(cell)) < 90  # what is as by default is not written


@EVERY
@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
def test_wrong_sizes_are_named(make, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        make(**{"input_size": I, "hidden_size": H} | {name: 0})
    with pytest.raises(TypeError, match=rf"{name} must be an integer; got 5\.0"):
        make(**{"input_size": I, "hidden_size": H} | {name: 5.0})


@EVERY
@pytest.mark.parametrize("p", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("s", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_a_step_keeps_the_dtypes_of_the_state(make, p, s):
    cell = make(I, H, dtype=p)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(p)}
    memory = MEMORY.get(type(cell), "c")
    for x in (jnp.bfloat16, jnp.float32, jnp.int32):
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, s), cell.initial_state((4,))
        )
        for given in (state, state._replace(**{memory: cell.initial_state((4,))[-1]})):
            new = jax.eval_shape(cell.step, params, given, jax.ShapeDtypeStruct((4, I), x))
            assert type(new) is type(given)
            assert [(a.shape, a.dtype) for a in new] == [(a.shape, a.dtype) for a in given]


@EVERY
@pytest.mark.usefixtures("x64")
def test_float64_throughout(make):
    cell = make(I, H, dtype=jnp.float64)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((I,), jnp.float64)
    new = jax.eval_shape(cell.step, params, cell.initial_state(), x)
    gates = jax.eval_shape(cell.gates, params, cell.initial_state(), x)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, new, gates))} == {jnp.dtype("float64")}


@EVERY
def test_a_policy_says_which_dtype_is_used_for_what(make):
    cell = make(I, H, dtype=Policy(compute=jnp.bfloat16))
    params, state, x = draw(cell, (4,), jnp.float32)
    state = jax.tree.map(lambda a, b: a.astype(b.dtype), state, cell.initial_state((4,)))
    assert state.h.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in state[1:])
    assert all(gate.dtype == jnp.float32 for gate in cell.gates(params, state, x))
    exact = make(I, H).step(params, jax.tree.map(lambda a: a.astype(jnp.float32), state), x)
    new = cell.step(params, state, x)
    for a, b in zip(new, exact, strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.1)
    rounded = jax.tree.map(lambda a: a.astype(jnp.bfloat16).astype(jnp.float32), params)
    assert not tree_equal(rounded, params)
    assert tree_equal(cell.step(rounded, state, x), new)  # that is how it multiplies anyway


@EVERY
def test_gradients_have_the_dtype_of_the_parameters(make):
    cell = make(I, H, dtype=Policy(compute=jnp.bfloat16))
    params = jax.eval_shape(cell.init, jax.random.key(0))

    def loss(params):
        return cell.step(params, cell.initial_state(), jnp.ones(I)).h.astype(jnp.float32).sum()

    grads = jax.eval_shape(jax.grad(loss), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}


@EVERY
@pytest.mark.parametrize("method", ["step", "gates"])
def test_what_does_not_fit_is_named(make, method):
    cell = make(I, H)
    params, state, x = draw(cell, (2,), jnp.float32)
    call, name = getattr(cell, method), rf"^{type(cell).__name__}\.{method}: "
    with pytest.raises(ValueError, match=name + r"x must have shape \[\.\.\., I\] with I = 3"):
        call(params, state, jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=name + r"h must have shape \(4, \d\), the batch axes of"):
        call(params, state, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match=name + r"params.kernel must have shape \[I, .H\] with"):
        call(params._replace(kernel=jnp.zeros((3, 1))), state, x)
    with pytest.raises(TypeError, match=name + "x must be of real numbers; got complex64"):
        call(params, state, x.astype(jnp.complex64))
    with pytest.raises(TypeError, match=name + "h must be of real numbers; got complex64"):
        call(params, state._replace(h=state.h.astype(jnp.complex64)), x)


@EVERY
def test_a_state_that_is_none_is_named(make):
    cell = make(I, H)
    params, state, x = draw(cell, (), jnp.float32)
    wrongs = [(None, "NoneType"), ((), "a tuple of 0")]
    if len(state) > 1:
        wrongs.append((jnp.zeros((2, H)), r"an array of shape \(2, 5\)"))
    for wrong, got in wrongs:
        with pytest.raises(TypeError, match=rf"step: state must be a tuple \(h,.*\); got {got}"):
            cell.step(params, wrong, x)
    plain = [leaf.tolist() for leaf in state]
    assert tree_equal(cell.step(params, plain, x), cell.step(params, state, x))


@EVERY
def test_on_candidate_is_applied_before_the_candidate_enters_the_state(make):
    cell = make(I, H)
    params, state, x = draw(cell, (2,), jnp.float32)
    seen = []

    def keep(candidate):
        seen.append(candidate)
        return candidate

    plain = cell.step(params, state, x)
    assert tree_equal(cell.step(params, state, x, on_candidate=keep), plain)
    gates = cell.gates(params, state, x)
    (candidate,) = seen
    assert tree_equal(candidate, gates.n if isinstance(cell, GRU) else gates.g)
    changed = cell.step(params, state, x, on_candidate=lambda g: 0.5 * g)
    assert not any(jnp.allclose(a, b) for a, b in zip(changed, plain, strict=True))


@EVERY
def test_mapped_rows_are_a_batch(make):
    cell = make(I, H)
    params, state, x = draw(cell, (2,), jnp.float32)
    mapped = jax.jit(jax.vmap(cell.step, in_axes=(None, 0, 0)))(params, state, x)
    for a, b in zip(mapped, cell.step(params, state, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@EVERY
def test_the_parts_of_init_are_drawn_from_their_own_keys(make):
    keys = []

    def record(key, shape, dtype):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return jnp.zeros(shape, dtype)

    fields = {field.name for field in dataclasses.fields(make(I, H))}
    make(I, H, **{name: record for name in fields if name.endswith("_init")}).init(
        jax.random.key(0)
    )
    assert len(keys) == len(set(keys)) >= 3


@pytest.mark.parametrize("cell", [LSTM(I, H), TanhRNN(I, H)])
def test_missing_parameters_are_named(cell):
    params, state, x = draw(cell, (), jnp.float32)
    with pytest.raises(ValueError, match=r"params.bias must have shape .*; got None"):
        cell.step(params._replace(bias=None), state, x)
