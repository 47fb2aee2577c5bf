"""Each transform against its equation in NumPy; their composition, equality, and errors.

Random numbers are tested in test_random_transforms.py.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from lstm_jax.transforms.transform import needs_sequence
from tests.helpers import reference
from tests.helpers.toys import Sum, assert_close, assert_leaves_close, random_like

T, B, H = 5, 2, 3
F64 = {"dtype": jnp.float64}
LSTM = lj.LSTM(3, H, **F64)
KEY = jax.random.key(0)


def numbers(cell):
    """Parameters, inputs and a state, all random and not small."""
    params = random_like(jax.eval_shape(cell.init, KEY))
    xs = random_like(jnp.zeros((T, B, 3)), seed=1)
    return params, 2 * xs, random_like(cell.initial_state((B,)), seed=2)


def wide(tree):
    return jax.tree.map(np.asarray, tree)


def step(params, state, x):
    return reference.step(reference.weights_of(params), *state, x)


def agrees(cell, numpy_step):
    """Test a cell against a step in NumPy: ``(params, state, x) -> (state, output)``."""
    params, xs, state = numbers(cell)
    got = lj.unroll(cell, params, xs, state)
    s, ys = wide(state), []
    for x in np.asarray(xs):
        s, y = numpy_step(params, s, x)
        ys.append(y)
    assert_leaves_close(got, (s, np.stack(ys)))


@pytest.mark.usefixtures("x64")
def test_a_stack_passes_outputs_to_the_next_layer():
    def by_hand(params, state, x):
        new = []
        for p, s in zip(params, state, strict=True):
            h, c = step(p, s, x)
            new.append((h, c))
            x = h
        return tuple(new), x

    agrees(lj.stack(LSTM, lj.LSTM(H, 4, **F64), lj.LSTM(4, 2, **F64)), by_hand)


@pytest.mark.usefixtures("x64")
def test_a_residual_adds_the_input_to_the_output_and_not_to_the_state():
    def by_hand(params, state, x):
        h, c = step(params, state, x)
        return (h, c), x + h

    agrees(lj.residual(LSTM), by_hand)


@pytest.mark.usefixtures("x64")
def test_a_skip_concatenates_input_and_output():
    def by_hand(params, state, x):
        (below, above), (p_below, p_above) = state, params
        below = step(p_below, below, x)
        above = step(p_above, above, np.concatenate([x, below[0]], axis=-1))
        return (below, above), above[0]

    agrees(lj.stack(lj.skip(LSTM), lj.LSTM(3 + H, 2, **F64)), by_hand)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("bounds", [{"h": 0.1}, {"c": 0.2}, {"h": 0.1, "c": 0.2}])
def test_clip_bounds_the_state_and_the_output(bounds):
    clipped = set()

    def by_hand(params, state, x):
        new = dict(zip("hc", step(params, state, x), strict=True))
        for name, bound in bounds.items():
            clipped.update((name, np.sign(n)) for n in new[name].flat if abs(n) > bound)
            new[name] = np.minimum(np.maximum(new[name], -bound), bound)
        return (new["h"], new["c"]), new["h"]

    agrees(lj.clip(LSTM, **bounds), by_hand)
    assert clipped == {(name, sign) for name in bounds for sign in (-1, 1)}


@pytest.mark.usefixtures("x64")
def test_zoneout_without_a_key_is_the_mean_of_its_masks():
    def by_hand(params, state, x):
        h, c = step(params, state, x)
        h, c = 0.3 * state[0] + 0.7 * h, 0.6 * state[1] + 0.4 * c
        return (h, c), h

    agrees(lj.zoneout(LSTM, h=0.3, c=0.6), by_hand)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "transform",
    [
        lambda cell: lj.dropout(cell, 0.5),
        lambda cell: lj.recurrent_dropout(cell, 0.5),
        lambda cell: lj.candidate_dropout(cell, 0.5),
        lambda cell: lj.weight_drop(cell, 0.5),
        lambda cell: lj.zoneout(cell),
    ],
)
def test_without_a_key_nothing_is_dropped(transform):
    cell = transform(LSTM)
    arguments = numbers(LSTM)
    assert_close(lj.unroll(cell, *arguments), lj.unroll(LSTM, *arguments), 1e-15)


@pytest.mark.usefixtures("x64")
def test_rows_start_from_a_learned_state_and_resets_return_to_it():
    cell = lj.learned_initial_state(LSTM)
    drawn = cell.init(KEY)
    assert_close(drawn, lj.LearnedParams(LSTM.init(KEY), LSTM.initial_state()), 0)

    params, xs, _ = numbers(cell)
    reset = np.array([[0, 0, 1, 0, 1], [0, 1, 0, 0, 0]], bool).T
    weight = np.random.default_rng(3).standard_normal((T, B, H))

    def numpy_loss(h_0, c_0):
        w, total = reference.weights_of(params.cell), 0.0
        for row in range(B):
            s = h_0, c_0
            for x, starts, each in zip(
                np.asarray(xs)[:, row], reset[:, row], weight[:, row], strict=True
            ):
                s = reference.step(w, *(h_0, c_0) if starts else s, x)
                total += np.sum(each * s[0])
        return total

    @quick_jit
    @jax.value_and_grad
    def loss(params):
        return jnp.sum(weight * lj.unroll(cell, params, xs, reset=reset)[1])

    value, grads = loss(params)
    at = tuple(wide(params.state))
    np.testing.assert_allclose(value, numpy_loss(*at), rtol=1e-12)
    for got, wanted in zip(grads.state, reference.gradient(numpy_loss, at), strict=True):
        assert np.all(wanted != 0)
        np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_a_learned_state_starts_as_the_cells_own():
    cell = lj.learned_initial_state(Sum(3.0))
    params = cell.init(KEY)
    assert params == lj.LearnedParams((), (jnp.full(1, 3.0),))
    other = params._replace(state=(jnp.full(1, 50.0),))
    assert cell.initial_state((2,))[0].tolist() == [[3], [3]]
    assert cell.initial_state((2,), other)[0].tolist() == [[50], [50]]
    final, _ = lj.unroll(cell, other, jnp.ones((3, 1)))
    assert final[0].tolist() == [53]
    stacked = lj.stack(lj.residual(cell), cell)  # at any depth
    final, _ = lj.unroll(stacked, (other, params), jnp.ones((1, 1)), reset=jnp.ones(1, bool))
    assert [s[0].item() for s in final] == [51, 3 + 1 + 51]


def test_the_same_cell_twice_has_two_sets_of_parameters():
    cell = lj.LSTM(3, 3)
    first, second = lj.stack(cell, cell).init(KEY)
    assert jnp.all(first.kernel != second.kernel)
    assert jnp.all(first.recurrent_kernel != second.recurrent_kernel)


@pytest.mark.usefixtures("x64")
def test_transforms_of_transforms_under_vmap_and_jit_are_a_loop_over_members():
    cell = lj.learned_initial_state(
        lj.stack(lj.clip(lj.skip(LSTM), h=0.4), lj.residual(lj.zoneout(lj.GRU(6, 6, **F64), h=0.2)))
    )
    params, xs, state = numbers(cell)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf / 2]), params)
    run = quick_jit(jax.vmap(lambda p: lj.unroll(cell, p, xs, state, lengths=[T, 2])))
    alone = quick_jit(lambda p: lj.unroll(cell, p, xs, state, lengths=[T, 2]))
    got = run(members)
    for k in range(2):
        member = jax.tree.map(lambda leaf, k=k: leaf[k], members)
        assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], got), alone(member))


STATE_TRANSFORMS = {
    "learned_initial_state": lj.learned_initial_state,
    "clip": lambda cell: lj.clip(cell, h=1.0, c=2.0),
    "zoneout": lambda cell: lj.zoneout(cell, h=0.1, c=0.2),
    "recurrent_dropout": lambda cell: lj.recurrent_dropout(cell, 0.3),
    "candidate_dropout": lambda cell: lj.candidate_dropout(cell, 0.3),
}


@pytest.mark.parametrize("name", STATE_TRANSFORMS)
def test_state_transforms_wrap_each_single_cell(name):
    t = STATE_TRANSFORMS[name]
    a, b = lj.LSTM(3, 3), lj.GRU(3, 3)
    assert t(lj.stack(a, b, dropout=0.5)) == lj.stack(t(a), t(b), dropout=0.5)
    assert t(lj.residual(a)) == lj.residual(t(a))
    assert t(lj.skip(a)) == lj.skip(t(a))
    assert t(lj.bidirectional(a, b, merge="sum")) == lj.bidirectional(t(a), t(b), merge="sum")
    assert t(lj.weight_drop(a, 0.5)) == lj.weight_drop(t(a), 0.5)
    deep = lj.stack(lj.dropout(lj.residual(lj.bidirectional(a, b, merge="mean")), 0.1), b)
    assert t(deep).cells[0].cell.cell.backward == t(b)
    assert t(a) != a


def test_candidate_dropout_is_inside_of_other_state_transforms():
    cell = lj.candidate_dropout(lj.zoneout(lj.LSTM(3, 3), c=0.1), 0.3)
    assert cell == lj.zoneout(lj.candidate_dropout(lj.LSTM(3, 3), 0.3), c=0.1)
    twice = lj.candidate_dropout(lj.candidate_dropout(lj.LSTM(3, 3), 0.3), 0.4)
    assert (twice.rate, twice.cell.rate) == (0.4, 0.3)


L3 = lj.LSTM(3, 3)
VALUES = {
    "Stack(cells=(LSTM(input_size=3, hidden_size=3), GRU(input_size=3, hidden_size=2)))": (
        lambda: lj.stack(L3, lj.GRU(3, 2))
    ),
    "Residual(cell=LSTM(input_size=3, hidden_size=3))": lambda: lj.residual(L3),
    "Residual(cell=LSTM(input_size=3, hidden_size=3), merge='concat')": lambda: lj.skip(L3),
    "Dropout(cell=LSTM(input_size=3, hidden_size=3), rate=0.5)": lambda: lj.dropout(L3, 0.5),
    "Dropout(cell=LSTM(input_size=3, hidden_size=3), rate=0.5, variational=True)": (
        lambda: lj.dropout(L3, 0.5, variational=True)
    ),
    "RecurrentDropout(cell=LSTM(input_size=3, hidden_size=3), rate=0.5, variational=False)": (
        lambda: lj.recurrent_dropout(L3, 0.5, variational=False)
    ),
    "CandidateDropout(cell=LSTM(input_size=3, hidden_size=3), rate=1.0)": (
        lambda: lj.candidate_dropout(L3, 1)
    ),
    "WeightDrop(cell=LSTM(input_size=3, hidden_size=3), rate=0.5, names=('kernel', 'bias'))": (
        lambda: lj.weight_drop(L3, 0.5, names=["kernel", "bias"])
    ),
    "Zoneout(cell=LSTM(input_size=3, hidden_size=3), c=0.5)": lambda: lj.zoneout(L3, c=0.5),
    "Clip(cell=LSTM(input_size=3, hidden_size=3), h=2)": lambda: lj.clip(L3, h=2),
    "LearnedInitialState(cell=LSTM(input_size=3, hidden_size=3))": (
        lambda: lj.learned_initial_state(L3)
    ),
}


@pytest.mark.parametrize(("text", "make"), VALUES.items(), ids=range(len(VALUES)))
def test_a_transform_has_value_semantics_and_a_readable_repr(text, make):
    cell = make()
    assert repr(cell) == text
    assert cell == make()
    assert hash(cell) == hash(make())
    assert all(cell != other() for key, other in VALUES.items() if key != text)
    assert cell != L3
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.cell = L3


def test_sizes_follow_from_the_cells():
    sizes = {
        lj.stack(L3, lj.GRU(3, 2)): (3, 2),
        lj.skip(L3): (3, 6),
        lj.skip(lj.skip(L3)): (3, 9),
        lj.residual(L3): (3, 3),
        lj.dropout(lj.bidirectional(lj.LSTM(3, 4)), 0.5): (3, 8),
        lj.zoneout(lj.LSTM(2, 5), h=0.1): (2, 5),
        lj.learned_initial_state(lj.ProjectedLSTM(3, 5, projection_size=2)): (3, 2),
    }
    assert {cell: (cell.input_size, cell.output_size) for cell in sizes} == sizes


def test_a_stack_of_a_list_of_layers():
    assert lj.stack([L3, L3]) == lj.stack(L3, L3) == lj.stack((L3, L3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lj.stack(), "stack: at least one layer is needed; got none"),
        (
            lambda: lj.stack(L3, lj.GRU(4, 2)),
            "stack: layer 2 must have input_size 3, the output size of layer 1; got"
            " GRU(input_size=4, hidden_size=2) with input_size 4",
        ),
        (
            lambda: lj.stack(L3, lj.skip(L3), L3),
            "stack: layer 3 must have input_size 6, the output size of layer 2; got"
            " LSTM(input_size=3, hidden_size=3) with input_size 3",
        ),
        (
            lambda: lj.stack(L3, dropout=1.5),
            "stack: dropout must be a probability in [0, 1]; got 1.5",
        ),
        (
            lambda: lj.residual(lj.LSTM(3, 4)),
            "residual: cell must have as many output features as input features; got 3 in and 4 out"
            " (`skip` concatenates them instead of adding)",
        ),
        (lambda: lj.dropout(L3, -0.1), "dropout: rate must be a probability in [0, 1]; got -0.1"),
        (
            lambda: lj.recurrent_dropout(L3, 2),
            "recurrent_dropout: rate must be a probability in [0, 1]; got 2",
        ),
        (
            lambda: lj.candidate_dropout(L3, float("nan")),
            "candidate_dropout: rate must be a probability in [0, 1]; got nan",
        ),
        (
            lambda: lj.weight_drop(L3, 1.1),
            "weight_drop: rate must be a probability in [0, 1]; got 1.1",
        ),
        (
            lambda: lj.weight_drop(L3, 0.5, names=("bias", "U")),
            "weight_drop: names must be fields of the parameters, ['bias', 'kernel',"
            " 'recurrent_kernel']; got ['U']",
        ),
        (lambda: lj.zoneout(L3, h=-1), "zoneout: h must be a probability in [0, 1]; got -1"),
        (lambda: lj.zoneout(L3, c=2), "zoneout: c must be a probability in [0, 1]; got 2"),
        (lambda: lj.clip(L3), "clip: a bound for h or c is needed; got none"),
        (lambda: lj.clip(L3, h=0.0), "clip: h must be above 0; got 0.0"),
        (lambda: lj.clip(L3, h=1.0, c=float("nan")), "clip: c must be above 0; got nan"),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stack", {}),
        ("residual", {}),
        ("skip", {}),
        ("dropout", {"rate": 0.5}),
        ("recurrent_dropout", {"rate": 0.5}),
        ("candidate_dropout", {"rate": 0.5}),
        ("weight_drop", {"rate": 0.5}),
        ("zoneout", {}),
        ("clip", {"h": 1.0}),
        ("learned_initial_state", {}),
    ],
)
def test_the_argument_must_be_a_cell(name, options):
    transform = getattr(lj, name)
    message = f"{name}: cell must be a cell, not its class; write LSTM(...) with its sizes"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        transform(lj.LSTM, **options)
    message = f"{name}: cell must have init, initial_state and step; got function"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        transform(lj.lstm_step, **options)


def test_candidate_dropout_needs_a_candidate():
    message = "candidate_dropout: cell must have a step with the keyword on_candidate; got Sum("
    with pytest.raises(TypeError, match=re.escape(message)):
        lj.candidate_dropout(lj.stack(Sum(), Sum()), 0.5)


def test_recurrent_dropout_needs_memory_besides_h_or_a_hook():
    message = (
        "recurrent_dropout: cell must have memory besides h, or a step with the keyword"
        " on_recurrent; got MinLSTM(input_size=3, hidden_size=5)"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        lj.recurrent_dropout(lj.MinLSTM(3, 5), 0.5)


@pytest.mark.parametrize("around", [lj.dropout, lj.weight_drop])
def test_a_transform_of_a_bidirectional_cell_needs_the_whole_sequence(around):
    assert needs_sequence(lj.stack(around(lj.bidirectional(L3), 0.5)))
    assert not needs_sequence(lj.stack(around(L3, 0.5)))
