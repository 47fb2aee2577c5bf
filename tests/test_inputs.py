"""Inputs, parameters and states that are no arrays of JAX or NumPy: one short line each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.layers.unroll_layer import unroll_layer
from tests.helpers.foreign import CONVERT, Foreign
from tests.helpers.toys import Sum, assert_close

CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(jax.random.key(0))
XS = np.random.default_rng(0).standard_normal((7, 7, 3)).astype(np.float32)  # T = B
STATE = CELL.initial_state((7,))


def layer(cell, params, xs, state):
    return unroll_layer("LSTM", cell, params, xs, initial_carry=state)


def flow(cell, params, xs, state):
    return lj.diagnostics.gradient_flow(cell, params, xs, jnp.sum, state)


FUNCTIONS = {
    "unroll": lj.unroll,
    "tbptt": functools.partial(lj.tbptt, k1=3),
    "explain": lambda cell, params, xs, state: lj.explain(cell, xs, state, params=params),
    "trace": lj.diagnostics.trace,
    "gradient_flow": flow,
    "LSTM": layer,
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"xs": [*XS]}, "must be one array{axes} for LSTM; got a list of 7; use jnp.stack"),
        ({"xs": (*map(jnp.asarray, XS),)}, "must be one .* got a tuple of 7; use jnp.stack"),
        ({"xs": XS.tolist()}, "must be one array{axes} for .* got a list of 7; use jnp.asarray"),
        ({"xs": {"x": XS}}, "must be one array{axes} for LSTM; got a dict of 1"),
        ({"xs": "sequence"}, "must contain arrays of numbers; got str"),
        (
            {"xs": np.full((7, 7, 3), "x")},
            r"must contain arrays of numbers; got an array of shape \(7, 7, 3\) and dtype <U1",
        ),
        ({"xs": Foreign()}, f"must contain .* JAX or NumPy; got foreign.Foreign; {CONVERT}"),
        ({"params": (*PARAMS[:2], Foreign())}, f"must contain .* got foreign.Foreign; {CONVERT}"),
        ({"state": (Foreign(), STATE.c)}, f"must contain .* got foreign.Foreign; {CONVERT}"),
        ({"state": ("ab", STATE.c)}, "must contain arrays of numbers; got str"),
        ({"state": (memoryview(b"ab"), STATE.c)}, "must contain arrays of .* got memoryview"),
    ],
)
def test_one_line_names_what_came_and_what_to_call(function, wrong, message):
    arguments = {"cell": CELL, "params": PARAMS, "xs": XS, "state": STATE} | wrong
    (name,) = wrong
    if function == "LSTM" and name == "xs":
        name = "inputs"
    wanted = f"^{function}: {name} {message}$".replace(
        "{axes}", "" if name == "inputs" else r" \[T, ..., I\]"
    )
    with pytest.raises(TypeError, match=wanted):
        FUNCTIONS[function](*arguments.values())


@pytest.mark.parametrize(
    "cell",
    [
        lj.stack(CELL, lj.GRU(5, 4)),
        lj.bidirectional(CELL),
        lj.ConvLSTM((4, 3), 2, kernel_size=3),
        Sum(input_size=3),
        lj.lstm_step,
        CELL.step,
    ],
)
@pytest.mark.parametrize("reset", [None, np.zeros((7, 7), bool)])
def test_every_cell_and_step_that_reads_one_array_refuses_a_list(cell, reset):
    with pytest.raises(TypeError, match=r"^unroll: xs must be one .*; got a list of 7; use .*ack$"):
        lj.unroll(cell, PARAMS, [*XS], STATE, reset=reset)


def test_other_steps_may_read_a_list():
    step = lambda params, state, x: (state[0] + x[0] * x[1],)  # noqa: E731
    (final,), _ = lj.unroll(step, (), [XS, 2 * XS], (jnp.zeros((7, 3)),))
    assert_close(final, (2 * XS * XS).sum(axis=0), 1e-5)


@pytest.mark.parametrize("many", [[1.0] * 3000, [[1.0] * 60] * 50])
def test_an_error_about_a_long_list_is_short(many):
    step = lambda params, state, x: state  # noqa: E731
    for xs in (many, [np.ones(k) for k in range(1, 999)]):
        with pytest.raises(ValueError, match=r"^unroll: .*xs.* got shapes") as caught:
            lj.unroll(step, (), xs, (jnp.zeros(3),))
        assert len(str(caught.value)) < 150


def test_arrays_in_another_byte_order_are_converted():
    swapped = XS.astype(">f4")
    params, state = jax.tree.map(lambda leaf: np.asarray(leaf, ">f4"), (PARAMS, STATE))
    for run in (lj.unroll, layer):
        assert_close(run(CELL, params, swapped, state), run(CELL, PARAMS, XS, STATE), 0)
    assert FUNCTIONS["explain"](CELL, params, swapped, state).implementations
    wanted = lj.unroll(CELL, PARAMS, XS, STATE, lengths=[*range(7)])
    got = lj.unroll(CELL, PARAMS, XS, STATE, lengths=np.arange(7, dtype=">i4"))
    assert_close(got, wanted, 0)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["params", "xs", "state"])
def test_a_tensor_of_torch_is_an_error_and_lengths_and_masks_are_converted(name):
    torch = pytest.importorskip("torch")
    arguments = {"cell": CELL, "params": PARAMS, "xs": XS, "state": STATE}
    as_tensors = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), arguments[name])
    with pytest.raises(TypeError, match=rf"^unroll: {name} .* got torch.Tensor; {CONVERT}$"):
        lj.unroll(*(arguments | {name: as_tensors}).values())
    wanted = lj.unroll(CELL, PARAMS, XS, STATE, lengths=[3] * 7)
    for options in (
        {"lengths": torch.full((7,), 3)},
        {"mask": torch.arange(7)[:, None].expand(7, 7) < 3},
    ):
        assert_close(lj.unroll(CELL, PARAMS, XS, STATE, **options), wanted, 0)


STEPS = {
    "lstm_gates": CELL.gates,
    "lstm_step": lj.lstm_step,
    "GRU.step": lambda params, state, x: lj.GRU(3, 5).step(params, state.h, x),
}


@pytest.mark.parametrize("function", STEPS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("x", "contain arrays of numbers; got str"),
        ([[1.0, 2.0], [3.0]], "be an array of numbers; got a list of 2"),
        (Foreign(), f"contain arrays of JAX or NumPy; got foreign.Foreign; {CONVERT}"),
    ],
)
def test_a_step_says_what_came_as_its_input(function, x, message):
    with pytest.raises(TypeError, match=f"^{function}: x must {message}$"):
        STEPS[function](PARAMS, STATE, x)


@pytest.mark.parametrize("function", ["unroll", "explain", "LSTM"])
def test_the_wrapper_of_flax_around_parameters_is_named(function):
    with pytest.raises(ValueError, match=r"kernel, .*; pass params\['params'\]"):
        FUNCTIONS[function](CELL, {"params": PARAMS._asdict()}, XS, STATE)
