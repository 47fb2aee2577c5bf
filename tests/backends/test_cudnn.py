"""The cuDNN backend: on a GPU against the scan, elsewhere with JAX's reference instead of cuDNN."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

import lstm_jax as lj
from lstm_jax.backends import cudnn
from lstm_jax.backends.cudnn import CudnnLayer, packed

T, B, I, H = 7, 2, 3, 5  # noqa: E741
CELL = lj.LSTM(I, H)
KEYS = jax.random.split(jax.random.key(0), 5)
PARAMS = CELL.init(KEYS[0])._replace(bias=jax.random.normal(KEYS[1], (4 * H,)))
XS = jax.random.normal(KEYS[2], (T, B, I))
STATE = lj.LSTMState(*(jax.random.normal(key, (B, H)) for key in KEYS[3:]))


def theirs(x, h_0, c_0, weights, lengths):
    unpacked = rnn.unpack_lstm_weights(weights, I, H, 1, False)
    return rnn.lstm_ref(x, h_0, c_0, *unpacked, lengths, I, H, 1, 0.0, False)


@pytest.fixture
def without_gpu(monkeypatch):
    """Replace JAX's calls of cuDNN by its reference in plain JAX."""

    def forward(x, h_0, c_0, weights, lengths, *settings):
        assert settings == (I, H, 1, 0.0, False, None)
        y, h, c = theirs(x, h_0, c_0, weights, lengths)
        return (y, h, c), (x, h_0, c_0, weights, lengths, y, jnp.full(9, 3.0))

    def backward(*arguments):
        *settings, (x, h_0, c_0, weights, lengths, _, reserve), cotangents = arguments
        assert settings == [I, H, 1, 0.0, False, None]
        np.testing.assert_array_equal(reserve, 3.0)  # the saved arrays are passed on
        by = jax.vjp(lambda *args: theirs(*args, lengths), x, h_0, c_0, weights)[1]
        return (*by(cotangents), jnp.zeros_like(lengths))

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)


def test_weights_are_packed_in_the_layout_of_cudnn():
    ys, h, c = theirs(
        jnp.swapaxes(XS, 0, 1), *(s[None] for s in STATE), packed(*PARAMS), jnp.full(B, T)
    )
    final, outputs = lj.unroll(CELL, PARAMS, XS, STATE, implementation="scan")
    for a, b in ((jnp.swapaxes(ys, 0, 1), outputs), (h[0], final.h), (c[0], final.c)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_both_passes_agree_with_the_scan(without_gpu, reverse):
    layer, args = CudnnLayer(reverse), (XS, *PARAMS, *STATE)
    outs, saved = layer.forward(*args, save=True, native="here")
    wanted, back = jax.vjp(layer.reference, *args)
    given = [jnp.sin(out) for out in outs]
    gradients = layer.backward(args, outs, saved, given, (True,) * 6, native="here")
    for a, b in zip((*outs, *gradients), (*wanted, *back(tuple(given))), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    some = layer.backward(
        args, outs, saved, [None, given[1], None], (False, True, *[False] * 4), native="here"
    )
    only_h = tuple(v if k == 1 else jnp.zeros_like(v) for k, v in enumerate(given))
    assert len(some) == 1
    np.testing.assert_allclose(some[0], back(only_h)[1], rtol=0, atol=1e-5)


def test_without_cudnn_what_is_saved_is_nan(without_gpu):
    layer, args = CudnnLayer(), (XS, *PARAMS, *STATE)
    outs, saved = layer.forward(*args, save=True, native="no")
    for a, b in zip(outs, layer.reference(*args), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [leaf.shape for leaf in saved] == [(B, T, H), (9,)]
    assert all(np.isnan(leaf).all() for leaf in saved)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lengths": jnp.array([7, 0])}, "whole sequences"),
        ({"reset": jnp.zeros((T, B), bool)}, "whole sequences"),
        ({"remat": "step"}, "remat='step' excludes that"),
        ({"return_states": True}, "does not return the cell states of every step"),
    ],
)
def test_the_scan_runs_what_is_unsupported(monkeypatch, options, reason):
    monkeypatch.setattr(cudnn, "unsupported_cell_reason", lambda cell: None)
    explained = lj.explain(CELL, XS, implementation="cudnn", **options)
    assert explained.implementations == ("scan",)
    assert reason in explained.selections[0].reasons["cudnn"]


def test_without_a_gpu_the_scan_runs():
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")
    explained = lj.explain(CELL, XS, implementation="cudnn")
    assert explained.implementations == ("scan",)
    assert "NVIDIA GPU" in explained.selections[0].reasons["cudnn"]
    half = lj.LSTM(I, H, dtype=jnp.bfloat16)
    assert "NVIDIA" in lj.explain(half, XS, implementation="cudnn").selections[0].reasons["cudnn"]


@pytest.mark.parametrize(("version", "taken"), [("cuda 12090", True), ("rocm 60000", False)])
def test_other_gpus_are_unsupported(monkeypatch, version, taken):
    monkeypatch.setattr(cudnn, "platform", lambda: "gpu")
    backend = SimpleNamespace(platform_version=version)
    monkeypatch.setattr(cudnn, "get_backend", lambda platform: backend)
    monkeypatch.setattr(rnn, "gpu_rnn", object())
    reason = cudnn.unsupported_cell_reason(CELL)
    assert (reason is None) is taken
    assert taken or "the default device is another GPU" in reason


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU")
@pytest.mark.parametrize("reverse", [False, True])
def test_on_a_gpu_it_agrees_with_the_scan(reverse):
    def loss(params, xs, implementation):
        final, outputs = lj.unroll(
            CELL, params, xs, STATE, reverse=reverse, implementation=implementation
        )
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((final, outputs)))

    assert lj.explain(CELL, XS, STATE, implementation="cudnn").implementations == ("cudnn",)
    with jax.default_matmul_precision("float32"):
        pairs = [
            jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)(PARAMS, XS, name)
            for name in ("cudnn", "scan")
        ]
    for a, b in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
