"""The random numbers of transforms: their masks and rates, and that options do not change them.

A random number depends on the key, the place in the model, and the time: a transform draws from
``fold_in(key, 0)``, its k-th cell has the key ``fold_in(key, k + 1)``, and numbers that are drawn
at every step fold in the time as well. `masks` computes this without code of the library.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from lstm_jax.transforms.step_rng import drop
from tests.helpers import reference
from tests.helpers.toys import Echo, assert_close, assert_leaves_close, random_like, slow_case

T, B, H = 5, 2, 3
F64 = {"dtype": jnp.float64}
LSTM = lj.LSTM(3, H, **F64)
KEY = jax.random.key(42)
START = 6


def masks(rate, shape, *place, t=None, part=None):
    """True where an element is kept, for a cell at a place, a time, and one of two parts."""
    key = KEY
    for k in place:
        key = jax.random.fold_in(key, k + 1)
    key = jax.random.fold_in(key, 0)
    key = key if t is None else jax.random.fold_in(key, t)
    key = key if part is None else jax.random.split(key)[part]
    return np.asarray(jax.random.bernoulli(key, 1 - rate, shape))


def dropped(x, rate, *place, t=None):
    return masks(rate, np.shape(x), *place, t=t) * x / (1 - rate)


def step(params, state, x, on_candidate=lambda g: g):
    w, (h, c) = reference.weights_of(params), state
    hx = np.concatenate([h, x], axis=-1)
    f, i, o = (
        reference.sigmoid(hx @ W.T + b) for W, b in ((w.W_f, w.b_f), (w.W_i, w.b_i), (w.W_o, w.b_o))
    )
    c = f * c + i * on_candidate(np.tanh(hx @ w.W_g.T + w.b_g))
    return o * np.tanh(c), c


def numbers(cell):
    params = random_like(jax.eval_shape(cell.init, KEY))
    xs = 2 * random_like(jnp.zeros((T, B, 3)), seed=1)
    return params, xs, random_like(cell.initial_state((B,)), seed=2)


def input_dropout(params, state, x, t):
    return step(params, state, dropped(x, 0.4, t=t))


def variational_dropout(params, state, x, t):
    return step(params, state, dropped(x, 0.4))


def from_dropped_h(params, state, x, t):
    return step(params, (dropped(state[0], 0.4), state[1]), x)


def from_h_dropped_at_every_step(params, state, x, t):
    return step(params, (dropped(state[0], 0.4, t=t), state[1]), x)


def dropped_candidate(params, state, x, t):
    return step(params, state, x, lambda g: dropped(g, 0.4, t=t))


def candidate_dropped_alike(params, state, x, t):
    return step(params, state, x, lambda g: dropped(g, 0.4))


def dropped_weights(params, state, x, t):
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 1)  # of the second array
    kept = np.asarray(jax.random.bernoulli(key, 0.6, (H, 4 * H)))
    return step(
        params._replace(recurrent_kernel=kept * np.asarray(params.recurrent_kernel) / 0.6), state, x
    )


def zoned_out(params, state, x, t):
    new = step(params, state, x)
    return tuple(
        np.where(masks(rate, (B, H), t=t, part=part), after, before)
        for part, (rate, before, after) in enumerate(zip((0.3, 0.6), state, new, strict=True))
    )


def dropped_twice(params, state, x, t):
    return step(params, state, dropped(dropped(x, 0.4, t=t), 0.2, 0, t=t))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("cell", "by_hand"),
    [
        (lambda: lj.dropout(LSTM, 0.4), input_dropout),
        (lambda: lj.dropout(LSTM, 0.4, variational=True), variational_dropout),
        (lambda: lj.recurrent_dropout(LSTM, 0.4), from_dropped_h),
        (lambda: lj.recurrent_dropout(LSTM, 0.4, variational=False), from_h_dropped_at_every_step),
        (lambda: lj.candidate_dropout(LSTM, 0.4), dropped_candidate),
        (lambda: lj.candidate_dropout(LSTM, 0.4, variational=True), candidate_dropped_alike),
        (lambda: lj.weight_drop(LSTM, 0.4), dropped_weights),
        (lambda: lj.zoneout(LSTM, h=0.3, c=0.6), zoned_out),
        (lambda: lj.dropout(lj.dropout(LSTM, 0.2), 0.4), dropped_twice),
    ],
    ids=lambda each: each.__name__.replace("<lambda>", ""),
)
def test_a_transform_is_its_equation_with_these_masks(cell, by_hand):
    cell = cell()
    params, xs, state = numbers(cell)
    got = lj.unroll(cell, params, xs, state, key=KEY, start=START)
    s, hs = tuple(map(np.asarray, state)), []
    for t, x in enumerate(np.asarray(xs), start=START):
        s = by_hand(params, s, x, t)
        hs.append(s[0])
    assert_leaves_close(got, (s, np.stack(hs)))


@pytest.mark.usefixtures("x64")
def test_dropout_between_layers_is_before_all_but_the_first():
    cell = lj.stack(LSTM, LSTM, LSTM, dropout=0.4)
    params, xs, state = numbers(cell)
    _, outputs = lj.unroll(cell, params, xs, state, key=KEY)
    s, wanted = jax.tree.map(np.asarray, state), []
    for t, x in enumerate(np.asarray(xs)):
        new = []
        for k in range(3):
            new.append(step(params[k], s[k], dropped(x, 0.4, k, t=t) if k else x))
            x = new[-1][0]
        s = new
        wanted.append(x)
    np.testing.assert_allclose(outputs, wanted, rtol=0, atol=1e-12)


# Masks as outputs of a cell that echoes its input, with a reset before every step.
N, STEPS, ROWS, RATE = 40, 20, 10, 0.3
MASKED = {
    "dropout": lambda cell, v: lj.dropout(cell, RATE, variational=v),
    "recurrent_dropout": lambda cell, v: lj.recurrent_dropout(cell, RATE, variational=v),
    "candidate_dropout": lambda cell, v: lj.candidate_dropout(cell, RATE, variational=v),
    "zoneout of h": lambda cell, v: lj.zoneout(cell, h=RATE),
    "zoneout of c": lambda cell, v: lj.zoneout(cell, c=RATE),
    "weight_drop": lambda cell, v: lj.weight_drop(cell, RATE),
}


def echoes(cell, key=KEY, **options):
    """Outputs and states of a cell made of echoes."""
    xs, reset = jnp.ones((STEPS, ROWS, N)), np.ones((STEPS, ROWS), bool)
    options = {"reset": reset, "key": key, "return_states": True} | options
    _, outputs, states = lj.unroll(cell, cell.init(KEY), xs, **options)
    return outputs, jax.tree.map(lambda leaf: np.asarray(leaf[1:]), states)


def mask_of(name, variational=False, key=KEY, **options):
    """True where an element was dropped, or kept its value, ``[STEPS, ROWS, N]``."""
    cell = MASKED[name](Echo(N), variational)
    if name == "zoneout of h":  # an element is 1 if kept, or the input 0
        xs = jnp.zeros((STEPS, ROWS, N))
        reset = np.ones((STEPS, ROWS), bool)
        h = np.asarray(lj.unroll(cell, cell.init(KEY), xs, reset=reset, key=key, **options)[1])
        assert set(np.unique(h)) == {0, 1}
        return h == 1
    outputs, states = echoes(cell, key, **options)
    if name == "zoneout of c":
        assert set(np.unique(states.c)) == {0, 1}
        return states.c == 1
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - RATE)], rtol=1e-6)
    return np.asarray(outputs) == 0


def is_about(mask, rate):
    """Within four standard deviations, for independent draws."""
    return abs(np.mean(mask) - rate) < 4 * np.sqrt(rate * (1 - rate) / np.size(mask))


@pytest.mark.parametrize(
    ("name", "variational"),
    [
        ("dropout", False),
        slow_case("dropout", True),
        slow_case("recurrent_dropout", False),
        ("recurrent_dropout", True),
        slow_case("candidate_dropout", False),
        slow_case("candidate_dropout", True),
        slow_case("zoneout of h", False),
        ("zoneout of c", False),
        ("weight_drop", True),
    ],
)
def test_rates_and_independence_of_masks(name, variational):
    mask = mask_of(name, variational)
    independent = mask[0] if variational else mask
    if name == "weight_drop":
        independent = mask[0, 0]
    assert is_about(independent, RATE)
    if variational:
        assert np.array_equal(mask, np.broadcast_to(mask[0], mask.shape))
    else:  # steps are independent
        assert is_about(mask[1:] & mask[:-1], RATE**2)
    if name == "weight_drop":
        assert np.array_equal(mask, np.broadcast_to(mask[:, :1], mask.shape))
    else:
        assert is_about(independent[..., 1:, :] & independent[..., :-1, :], RATE**2)
    assert not np.array_equal(mask, mask_of(name, variational, key=jax.random.key(1)))
    # In reverse, each step draws the same numbers.
    assert np.array_equal(mask, mask_of(name, variational, reverse=True))
    if not variational:  # the time counts from `start`
        later = mask_of(name, key=KEY, start=2)
        assert np.array_equal(later[:-2], mask[2:])


@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout", "candidate_dropout"])
@pytest.mark.parametrize("variational", [False, True])
def test_masks_differ_between_layers_and_between_directions(name, variational):
    wrapped = MASKED[name](Echo(N), variational)
    _, (first, second) = echoes(lj.stack(wrapped, wrapped))
    passed = first.h != 0
    independent = (slice(0, 1) if variational else slice(None),)
    assert is_about(second.h[independent][passed[independent]] == 0, RATE)
    (forward, backward), _ = echoes(lj.bidirectional(wrapped, merge="none"))
    both = (np.asarray(forward) == 0) & (np.asarray(backward) == 0)
    assert is_about(both[independent], RATE**2)


@pytest.mark.slow
def test_arrays_of_one_cell_and_parts_of_an_input_have_independent_masks():
    cell = lj.weight_drop(lj.stack(Echo(400), Echo(400)), RATE)
    _, states = lj.unroll(cell, cell.init(KEY), jnp.ones((1, 400)), key=KEY, return_states=True)[1:]
    first = states[0].h[1] != 0
    assert is_about(states[1].h[1][first] == 0, RATE)

    xs = {"a": jnp.ones((1, 400)), "b": jnp.ones((1, 400)), "token": jnp.arange(1)}
    a, b = (drop(KEY, RATE, xs)[name] for name in "ab")
    assert is_about((a == 0) & (b == 0), RATE**2)
    assert drop(KEY, RATE, xs)["token"].tolist() == [0]


def test_the_two_masks_of_zoneout_are_independent():
    cell = lj.zoneout(Echo(N), h=RATE, c=RATE)
    xs, reset = jnp.zeros((STEPS, ROWS, N)), np.ones((STEPS, ROWS), bool)
    *_, states = lj.unroll(cell, cell.init(KEY), xs, reset=reset, key=KEY, return_states=True)
    h, c = (np.asarray(leaf[1:]) == 1 for leaf in states)
    assert is_about(h & c, RATE**2)


@pytest.mark.parametrize(
    "around",
    [
        lj.learned_initial_state,
        lj.residual,
        lj.stack,
        lj.bidirectional,
        lambda cell: lj.dropout(cell, 0.0),
        lambda cell: lj.zoneout(cell, c=0.5),
        lambda cell: lj.weight_drop(cell, 0.0),
    ],
)
def test_weight_drop_works_at_any_place_in_the_model(around):
    cell = around(lj.weight_drop(Echo(100), RATE))
    final, _ = lj.unroll(cell, cell.init(KEY), jnp.ones((1, 100)), key=KEY)
    for h in jax.tree.leaves(final)[::2]:
        assert is_about(h == 0, RATE)


@pytest.mark.usefixtures("x64")
def test_zoneout_keeps_a_memory_and_its_normaliser_together():
    cell = lj.zoneout(lj.SLSTM(3, 4, **F64), h=0.0, c=0.5)
    params, xs, state = numbers(cell)
    *_, states = lj.unroll(cell, params, xs, state, key=KEY, return_states=True)
    h, *memory = (np.asarray(leaf) for leaf in states)
    kept = [leaf[1:] == leaf[:-1] for leaf in memory]
    assert 0 < np.mean(kept[0]) < 1
    assert all(np.array_equal(each, kept[0]) for each in kept)
    assert not np.any(h[1:] == h[:-1])


# Everything at once, with masks of every kind, in more than one layer.
with jax.enable_x64(True):  # transforms read the dtypes of parameters
    NOISY = lj.stack(
        lj.dropout(lj.zoneout(lj.candidate_dropout(LSTM, 0.3), h=0.2, c=0.3), 0.3),
        lj.weight_drop(
            lj.recurrent_dropout(lj.dropout(LSTM, 0.4, variational=True), 0.4),
            0.2,
            names=("recurrent_kernel", "bias"),
        ),
        dropout=0.2,
    )
LENGTHS = [5, 3]


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_masks_are_the_same_in_chunks_in_truncated_gradients_and_step_by_step():
    arguments = params, xs, state = numbers(NOISY)
    options = {"key": KEY, "start": START}

    def in_chunks(params, xs, state):
        cut = lj.mask_of_lengths(jnp.array(LENGTHS), T)
        state, first = lj.unroll(NOISY, params, xs[:2], state, mask=cut[:2], **options)
        options["start"] += 2
        state, second = lj.unroll(NOISY, params, xs[2:], state, mask=cut[2:], **options)
        return state, jnp.concatenate([first, second])

    def truncated(*arguments):
        return lj.tbptt(NOISY, *arguments, k1=2, k2=3, lengths=LENGTHS, **options)

    wanted = lj.unroll(NOISY, *arguments, lengths=LENGTHS, **options)
    assert_close(quick_jit(truncated)(*arguments), wanted)
    assert_close(quick_jit(in_chunks)(*arguments), wanted)
    advance = quick_jit(lambda s, x, t: lj.advance(NOISY, params, s, x, key=KEY, start=t))
    for t in range(3):
        state, y = advance(state, xs[t], START + t)
        np.testing.assert_allclose(y, wanted[1][t], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
@pytest.mark.parametrize("options", [{"remat": 2, "unroll": 2}, {"remat": "step"}, {"unroll": 3}])
def test_rematerialization_draws_the_same_masks(options):
    arguments = numbers(NOISY)

    def results(**options):
        def loss(*a):
            outputs = lj.unroll(NOISY, *a, key=KEY, **options)[1]
            return jnp.sum(outputs**2), outputs

        return quick_jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*arguments)

    wanted = results()
    assert_close(results(**options), wanted)
    # A dropped weight gets no gradient, and the others do.
    kernel = wanted[0][0][1].recurrent_kernel
    assert 0.05 < np.mean(kernel == 0) < 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_vmap_over_keys_is_a_loop():
    arguments, keys = numbers(NOISY), jax.random.split(KEY, 2)

    def run(key):
        return lj.unroll(NOISY, *arguments, key=key)[1]

    members, alone = quick_jit(jax.vmap(run))(keys), quick_jit(run)
    for k in range(2):
        np.testing.assert_allclose(members[k], alone(keys[k]), rtol=0, atol=1e-12)
    assert not np.allclose(members[0], members[1], atol=1e-2)


@pytest.mark.usefixtures("x64")
def test_rate_zero_drops_nothing_and_rate_one_everything_without_nan():
    params, xs, state = numbers(LSTM)
    none, every = lj.dropout(LSTM, 0.0), lj.dropout(LSTM, 1.0)
    plain = lj.unroll(LSTM, params, xs, state)
    assert_close(lj.unroll(none, params, xs, state, key=KEY), plain)
    nothing = lj.unroll(LSTM, params, jnp.zeros_like(xs), state)
    assert_close(lj.unroll(every, params, xs, state, key=KEY), nothing)
    loss = jax.grad(lambda xs: lj.unroll(every, params, xs, state, key=KEY)[1].sum())
    assert not jnp.any(loss(xs))
    kept = lj.unroll(lj.zoneout(LSTM, h=1.0, c=1.0), params, xs, state, key=KEY)
    assert_close(kept[0], state, 0)


def test_dropout_keeps_dtype_and_mean_in_low_precision_too():
    dropped = drop(KEY, 0.25, jnp.ones((1, 4000), jnp.bfloat16))
    assert dropped.dtype == jnp.bfloat16
    assert abs(float(dropped.astype(jnp.float32).mean()) - 1) < 0.05


def test_errors_of_keys():
    with pytest.raises(TypeError, match=r"^unroll: key must be made by jax\.random\.key; got "):
        lj.unroll(lj.dropout(Echo(3), 0.5), Echo(3).init(KEY), jnp.ones((2, 3)), key=jnp.zeros(2))
    cell = lj.dropout(Echo(3), 0.5)
    for options, message in [
        ({"key": jax.random.split(KEY)}, "key must be a single key; got keys of shape (2,)"),
        ({"start": 1.5}, "start must be an integer; got 1.5"),
    ]:
        with pytest.raises(TypeError, match=f"^unroll: {re.escape(message)}$"):
            lj.unroll(cell, cell.init(KEY), jnp.ones((2, 3)), **options)
