"""Presets of the GRU and the tanh RNN, against the libraries they are named after."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lstm_jax as lj
from lstm_jax.initializers import (
    EachGate,
    ForgetBias,
    TruncatedNormal,
    Uniform,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    preset,
    zeros,
)
from tests.helpers.flax_peer import weights_from_linen, weights_from_nnx

INPUTS, H, DRAWS = 6, 8, 60
KEYS, THEIR_KEYS = jax.random.split(jax.random.key(0), (2, DRAWS))
KINDS = {"GRU": lj.GRU, "TanhRNN": lj.TanhRNN, "LSTM": lj.LSTM}


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("torch", "GRU", (Uniform(0.25), Uniform(0.25), Uniform(0.25))),
        ("equinox", "GRU", (Uniform(0.25), Uniform(0.25), Uniform(0.25))),
        ("keras", "GRU", (glorot_uniform, orthogonal, zeros)),
        ("haiku", "GRU", (lecun_normal, lecun_normal, zeros)),
        ("nnx", "GRU", (lecun_normal, orthogonal, zeros)),
        ("torch", "TanhRNN", (Uniform(0.25), Uniform(0.25), None)),
        ("haiku", "TanhRNN", (TruncatedNormal(1 / 3), TruncatedNormal(1 / 4), None)),
        ("torch", "ProjectedLSTM", (Uniform(0.25), Uniform(0.25), Uniform(0.25))),
        ("chrono", "ProjectedLSTM", (lecun_normal, lecun_normal, lecun_normal)),
    ],
)
def test_a_preset_of_a_cell(name, cell, expected):
    made = preset(name, 9, 16, cell=cell, t_max=9.0 if name == "chrono" else None)
    extra = made.get("recurrent_bias_init", made.get("projection_init"))
    assert (made["kernel_init"], made["recurrent_kernel_init"], extra) == expected


def test_the_bias_of_a_gru_from_two_of_torch():
    two = Uniform(0.25, terms=2)
    assert preset("torch", 9, 16, cell="GRU")["bias_init"] == EachGate((two, two, Uniform(0.25)))
    for name in ("chrono", "uniform_gate"):
        t_max = 100.0 if name == "chrono" else None
        bias = lj.GRU(3, 50, **preset(name, 3, 50, cell="GRU", t_max=t_max)).init(KEYS[0]).bias
        r, z, n = np.split(np.asarray(bias), 3)
        assert not r.any()
        assert not n.any()
        assert z.std() > 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("equinox", "TanhRNN"), "there is no 'equinox' for TanhRNN"),
        (("chrono", "TanhRNN"), "there is no 'chrono' for TanhRNN"),
        (("keras", "ProjectedLSTM"), "there is no 'keras' for ProjectedLSTM"),
        (("keras", "GRUCell"), "cell must be one of LSTM, .*; got 'GRUCell'; did you mean 'GRU'"),
    ],
)
def test_what_there_is_not_is_named(given, message):
    with pytest.raises(ValueError, match=f"preset: {message}"):
        preset(given[0], 3, 5, cell=given[1])
    assert preset("keras", 3, 5)["bias_init"] == ForgetBias(1.0)


def from_flax(library, cell):
    name = {"GRU": "GRUCell", "TanhRNN": "SimpleCell", "LSTM": "OptimizedLSTMCell"}[cell]
    if library == "linen":
        from flax import linen

        module = vars(linen)[name](H)
        draw = jax.jit(lambda key: module.init(key, jnp.zeros(H), jnp.zeros(INPUTS))["params"])
        for key in THEIR_KEYS:
            yield weights_from_linen(name, draw(key))
        return
    from flax import nnx

    for n in range(DRAWS):
        yield weights_from_nnx(name, vars(nnx)[name](INPUTS, H, rngs=nnx.Rngs(n)))


def from_torch(cell):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for _ in range(DRAWS):
        layer = {"GRU": torch.nn.GRU, "TanhRNN": torch.nn.RNN}[cell](INPUTS, H)
        leaves = layer.weight_ih_l0.T, layer.weight_hh_l0.T, layer.bias_ih_l0, layer.bias_hh_l0
        kernel, recurrent, b_i, b_h = (leaf.detach().numpy() for leaf in leaves)
        ours = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": b_i + b_h}
        if cell == "GRU":
            ours["bias"] = np.concatenate([ours["bias"][: 2 * H], b_i[2 * H :]])
            ours["recurrent_bias"] = b_h[2 * H :]
        yield ours


def from_keras(cell):
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    kind = {"GRU": keras.layers.GRUCell, "TanhRNN": keras.layers.SimpleRNNCell}[cell]
    for _ in range(DRAWS):
        layer = kind(H)
        layer.build((None, INPUTS))
        kernel, recurrent, bias = (np.asarray(weight.value) for weight in layer.weights)
        ours = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        if cell == "GRU":
            ours |= {"bias": bias[0], "recurrent_bias": bias[1, 2 * H :]}
        yield ours


def from_haiku(cell):
    hk = pytest.importorskip("haiku")
    kind = {"GRU": hk.GRU, "TanhRNN": hk.VanillaRNN}[cell]
    step = hk.transform(lambda x: kind(H)(x, jnp.zeros(H)))
    init = jax.jit(step.init)
    for key in THEIR_KEYS:
        tree = init(key, jnp.zeros(INPUTS))
        if cell == "GRU":
            (leaves,) = tree.values()
            names = {"kernel": "w_i", "recurrent_kernel": "w_h", "bias": "b"}
            yield {ours: leaves[theirs] for ours, theirs in names.items()}
        else:
            inputs, hidden = tree.values()
            kernels = {"kernel": inputs["w"], "recurrent_kernel": hidden["w"]}
            yield {**kernels, "bias": inputs["b"] + hidden["b"]}


def from_equinox(cell):
    equinox = pytest.importorskip("equinox")
    for key in THEIR_KEYS:
        layer = equinox.nn.GRUCell(INPUTS, H, key=key)
        kernels = {"kernel": layer.weight_ih.T, "recurrent_kernel": layer.weight_hh.T}
        yield {**kernels, "bias": layer.bias, "recurrent_bias": layer.bias_n}


SOURCES = {
    "flax": functools.partial(from_flax, "linen"),
    "nnx": functools.partial(from_flax, "nnx"),
    "torch": from_torch,
    "keras": from_keras,
    "haiku": from_haiku,
    "equinox": from_equinox,
}


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((name, "GRU") for name in SOURCES),
        *((name, "TanhRNN") for name in SOURCES if name != "equinox"),
        ("nnx", "LSTM"),
    ],
)
def test_a_library_draws_the_same(name, cell, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    theirs = stacked(SOURCES[name](cell))
    init = jax.jit(KINDS[cell](INPUTS, H, **preset(name, INPUTS, H, cell=cell)).init)
    ours = stacked(init(key)._asdict() for key in KEYS)
    for leaf, values in theirs.items():
        a, b = ours[leaf], values
        assert a.shape == b.shape
        for block in range(a.shape[-1] // H):
            columns = np.s_[..., block * H : (block + 1) * H]
            if not a[columns].std():
                assert np.array_equal(a[columns], b[columns])
                continue
            assert b[columns].std() == pytest.approx(a[columns].std(), rel=0.06), leaf
            test = scipy.stats.ks_2samp(a[columns].ravel(), b[columns].ravel())
            assert test.pvalue > 1e-3, leaf
        if "kernel" in leaf:  # whether each gate is orthogonal, or all gates as one, or none
            for columns in (np.s_[..., :H], np.s_[...]):
                each = (np.linalg.svd(w[columns], compute_uv=False).mean(0) for w in (a, b))
                np.testing.assert_allclose(*each, atol=0.1)


def stacked(trees):
    trees = list(trees)
    return {leaf: np.stack([np.asarray(t[leaf], np.float64) for t in trees]) for leaf in trees[0]}
