"""Presets against the libraries they are named after, and against their formulas."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lstm_jax as lj
from lstm_jax.initializers import (
    PRESETS,
    Chrono,
    ForgetBias,
    TruncatedNormal,
    Uniform,
    UniformGate,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
    preset,
    zeros,
)
from tests.helpers.toys import slow_case

INPUTS, H = 6, 8
DRAWS = 200
KEYS, THEIR_KEYS = jax.random.split(jax.random.key(0), (2, DRAWS))
EVERY = [(name, 50.0 if name == "chrono" else None) for name in PRESETS]
DEFAULT_KERNELS = (lecun_normal, orthogonal_per_gate)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch", (Uniform(1 / 4), Uniform(1 / 4), Uniform(1 / 4, terms=2))),
        ("equinox", (Uniform(1 / 4), Uniform(1 / 4), Uniform(1 / 4))),
        ("keras", (glorot_uniform, orthogonal, ForgetBias(1.0))),
        ("haiku", (TruncatedNormal(1 / 5), TruncatedNormal(1 / 5), ForgetBias(1.0))),
        ("flax", (*DEFAULT_KERNELS, zeros)),
        ("nnx", (lecun_normal, orthogonal, zeros)),
        ("chrono", (*DEFAULT_KERNELS, Chrono(50.0))),
        ("uniform_gate", (*DEFAULT_KERNELS, UniformGate())),
    ],
)
def test_a_preset_is_three_values(name, expected):
    t_max = dict(EVERY)[name]
    made = preset(name, 9, 16, t_max=t_max)
    assert tuple(made) == ("kernel_init", "recurrent_kernel_init", "bias_init")
    assert tuple(made.values()) == expected
    assert made == preset(name, np.int64(9), 16, t_max=t_max)
    assert len({lj.LSTM(9, 16, **made), lj.LSTM(9, 16, **preset(name, 9, 16, t_max=t_max))}) == 1


@pytest.mark.parametrize(("name", "t_max"), EVERY)
def test_a_preset_makes_an_lstm_in_low_precision(name, t_max):
    cell = lj.LSTM(3, 4, **preset(name, 3, 4, t_max=t_max), dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(0))
    assert [leaf.shape for leaf in params] == [(3, 16), (4, 16), (16,)]
    assert {leaf.dtype for leaf in params} == {jnp.dtype(jnp.bfloat16)}
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in params)


@pytest.mark.parametrize(
    ("name", "forget", "others", "deviation"),
    [
        ("torch", 0.0, 0.0, np.sqrt(2 / 3)),
        ("equinox", 0.0, 0.0, np.sqrt(1 / 3)),
        ("keras", 1.0, 0.0, 0.0),
        ("haiku", 1.0, 0.0, 0.0),
        ("flax", 0.0, 0.0, 0.0),
    ],
)
def test_the_bias_by_its_formula(name, forget, others, deviation):
    units = 10_000
    bias = preset(name, 3, units)["bias_init"](jax.random.key(0), (4 * units,), jnp.float32)
    gates = np.asarray(bias, np.float64).reshape(4, units)
    deviation /= np.sqrt(units)
    np.testing.assert_allclose(
        gates.mean(axis=1), [others, forget, others, others], atol=0.03 * deviation
    )
    np.testing.assert_allclose(gates.std(axis=1), deviation, rtol=0.03)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("pytorch", 3, 5), "preset: no preset 'pytorch'; did you mean 'torch'? There are torch, "),
        (("Keras", 3, 5), "did you mean 'keras'?"),
        (("xyz", 3, 5), f"preset: no preset 'xyz'. There are {', '.join(PRESETS)}"),
        ((None, 3, 5), "preset: no preset None. There are torch, "),
        (("torch", 0, 5), "preset: input_size must be at least 1; got 0"),
        (("haiku", 3, -1), "preset: hidden_size must be at least 1; got -1"),
        (("chrono", 3, 5), "preset: chrono needs t_max, the longest dependency in time steps"),
        (("chrono", 3, 5, 1.5), "Chrono: t_max must be at least 2"),
        (("torch", 3, 5, 100), "preset: t_max is for chrono; got t_max=100 with 'torch'"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    t_max = wrong[3] if len(wrong) > 3 else None
    with pytest.raises(ValueError, match=re.escape(message)):
        preset(*wrong[:3], t_max=t_max)


def test_a_size_that_is_no_integer_is_named():
    with pytest.raises(TypeError, match=r"preset: hidden_size must be an integer; got 5\.0"):
        preset("torch", 3, 5.0)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        slow_case("linen", "flax"),
        ("nnx", "flax"),
        ("torch", "torch"),
        ("keras", "keras"),
        ("haiku", "haiku"),
        ("equinox", "equinox"),
    ],
)
def test_a_library_draws_the_same(library, name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    trees = list(LIBRARIES[library]())
    theirs = [np.stack(leaves).astype(np.float64) for leaves in zip(*trees, strict=True)]
    for part, a, b in zip(lj.LSTMParams._fields, drawn(name), theirs, strict=True):
        assert a.shape[1:] == b.shape[1:]
        for gate in range(4):
            block = np.s_[..., gate * H : (gate + 1) * H]
            compare(f"{library} {part} {'ifgo'[gate]}", a[block], b[block])
        # Whether each gate is orthogonal, or all gates as one, or none.
        for columns in (np.s_[..., :H], np.s_[...]) if part != "bias" else ():
            np.testing.assert_allclose(
                singular_values(a[columns]), singular_values(b[columns]), atol=0.06
            )


def compare(where, a, b):
    """Two samples are of one distribution: deviation, quantiles, ends."""
    for values in (a, b):
        ends = [values.mean(), values.std(), values.min(), values.max()]
        quantiles = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        print(f"{where:28}", *(f"{value:8.4f}" for value in (*ends, *quantiles)))
    if not a.std():
        assert set(a.ravel()) == set(b.ravel()), where
        return
    assert b.mean() == pytest.approx(a.mean(), abs=0.05 * a.std()), where
    assert b.std() == pytest.approx(a.std(), rel=0.05), where
    assert scipy.stats.ks_2samp(a.ravel(), b.ravel()).pvalue > 1e-3, where
    # The ends are where a bound or a cut would show; tails that thin out leave them some room.
    np.testing.assert_allclose([b.min(), b.max()], [a.min(), a.max()], rtol=0.2, err_msg=where)


def singular_values(kernels):
    return np.linalg.svd(kernels, compute_uv=False).mean(axis=0)


@functools.cache
def drawn(name):
    """Our kernel, recurrent kernel and bias, each stacked over the draws."""
    init = jax.jit(lj.LSTM(INPUTS, H, **preset(name, INPUTS, H)).init)
    return [np.stack(leaves).astype(np.float64) for leaves in zip(*map(init, KEYS), strict=True)]


def from_linen():
    from flax import linen

    cell = linen.LSTMCell(H)
    carry, x = (jnp.zeros(H), jnp.zeros(H)), jnp.zeros(INPUTS)
    init = jax.jit(cell.init)
    for key in THEIR_KEYS:
        tree = init(key, carry, x)["params"]
        yield [
            np.concatenate([tree[f"{side}{gate}"][leaf] for gate in "ifgo"], axis=-1)
            for side, leaf in [("i", "kernel"), ("h", "kernel"), ("h", "bias")]
        ]


def from_nnx():
    from flax import nnx

    for n in range(40):
        cell = nnx.LSTMCell(INPUTS, H, rngs=nnx.Rngs(n))
        inputs = [cell.ii, cell.if_, cell.ig, cell.io]
        hidden = [cell.hi, cell.hf, cell.hg, cell.ho]
        yield (
            np.concatenate([dense.kernel[...] for dense in inputs], axis=1),
            np.concatenate([dense.kernel[...] for dense in hidden], axis=1),
            np.concatenate([dense.bias[...] for dense in hidden]),
        )


def from_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for _ in range(DRAWS):
        cell = torch.nn.LSTM(INPUTS, H)
        bias = cell.bias_ih_l0 + cell.bias_hh_l0
        yield [leaf.detach().numpy() for leaf in (cell.weight_ih_l0.T, cell.weight_hh_l0.T, bias)]


def from_keras():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    for _ in range(DRAWS):
        cell = keras.layers.LSTMCell(H)
        cell.build((None, INPUTS))
        yield [np.asarray(weight.value) for weight in cell.weights]


def from_haiku():
    hk = pytest.importorskip("haiku")

    def step(x):
        core = hk.LSTM(H)
        return core(x, core.initial_state(None))

    init = jax.jit(hk.transform(step).init)
    for key in THEIR_KEYS:
        linear = init(key, jnp.zeros(INPUTS))["lstm/linear"]
        i, g, f, o = np.split(np.asarray(linear["w"]), 4, axis=1)
        b_i, b_g, b_f, b_o = np.split(np.asarray(linear["b"]), 4)
        kernels = np.concatenate([i, f, g, o], axis=1)
        # Haiku adds the 1 to the forget gate when called.
        yield kernels[:INPUTS], kernels[INPUTS:], np.concatenate([b_i, b_f + 1, b_g, b_o])


def from_equinox():
    equinox = pytest.importorskip("equinox")
    for key in THEIR_KEYS:
        cell = equinox.nn.LSTMCell(INPUTS, H, key=key)
        yield cell.weight_ih.T, cell.weight_hh.T, cell.bias


LIBRARIES = {
    "linen": from_linen,
    "nnx": from_nnx,
    "torch": from_torch,
    "keras": from_keras,
    "haiku": from_haiku,
    "equinox": from_equinox,
}
