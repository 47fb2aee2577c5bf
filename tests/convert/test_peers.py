"""Conversions compared with the installed libraries in both directions; run with -m peers."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax import convert
from tests.golden.libraries import INPUTS, LIBRARIES, H, P
from tests.helpers.conversions import EXACT, GOLDEN, Vector, identical, max_error
from tests.helpers.conversions import to_cell as convert_case

os.environ.setdefault("KERAS_BACKEND", "jax")  # its default, TensorFlow, may not be installed

# Warnings of these libraries.
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
    pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning"),
]

PAGE = GOLDEN.parent.parent / "docs" / "convert.md"
EVERY = [(library, case) for library in LIBRARIES for case in LIBRARIES[library]]
LAYOUTS = {
    "cell": {"layout": "nn.LSTMCell"},
    "gru_cell": {"layout": "nn.GRUCell"},
    "rnn_cell": {"layout": "nn.RNNCell"},
    "no_bias": {"bias": False},
    "gru_no_bias": {"bias": False},
    **{
        f"nnx.{name}": {"layout": f"nnx.{name}"}
        for name in ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")
    },
    "nnx.Bidirectional": {"layout": "nnx.OptimizedLSTMCell"},
}


def to_cell(library, case, layer, weights):
    """Return the cell and its parameters."""
    if library == "cudnn":
        params = convert.cudnn.to_params(weights, *layer.sizes)
        return convert.cell_of(params), params
    return convert_case(library, case, weights)


def settings(library, case):
    if library == "haiku":
        return {"activation": jax.nn.relu} if case.startswith("rnn") else {}
    return {} if library == "equinox" else LAYOUTS.get(case, {})


def perturbed(tree, seed=0):
    """Add noise to weights, so that none is zero."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda a: a + random.normal(0, 0.3, a.shape).astype(a.dtype), tree)


def vector_of(layer, weights):
    """Apply a layer with these weights to random inputs."""
    layer.load(weights)
    xs = np.random.default_rng(1).normal(size=(6, 3, INPUTS)).astype(np.float32)
    return Vector(layer.weights(), xs, *layer.apply(xs))


@pytest.mark.parametrize(("library", "case"), EVERY)
def test_our_layer_gives_the_outputs_of_theirs(library, case):
    layer = LIBRARIES[library][case](np.float32)
    theirs = vector_of(layer, perturbed(layer.weights()))
    cell, params = to_cell(library, case, layer, theirs.weights)
    assert max_error(cell, params, theirs) < EXACT["float32"]


@pytest.mark.parametrize(("library", "case"), EVERY)
def test_their_layer_with_our_weights_gives_our_outputs(library, case):
    layer = LIBRARIES[library][case](np.float32)
    cell, params = to_cell(library, case, layer, layer.weights())
    params = perturbed(params, seed=2)
    if "no_bias" in case:
        params = type(params)(*(0 * a if a.ndim == 1 else a for a in params))
    if case == "nnx.GRUCell":  # which has no bias within the reset
        params = params._replace(recurrent_bias=0 * params.recurrent_bias)
    back = getattr(convert, library).from_params(params, **settings(library, case))
    if case == "rnn_one_bias":  # which from_params writes as two
        del back["vanilla_rnn/linear_1"]["b"]
    assert max_error(cell, params, vector_of(layer, back)) < EXACT["float32"]


def torch_state(module):
    """Return tensors with gradients, unlike those of `state_dict`."""
    return dict(module.named_parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_tensors_of_pytorch(dtype):
    import torch

    module = torch.nn.LSTM(INPUTS, H, 2, bidirectional=True, dtype=getattr(torch, dtype))
    with jax.enable_x64(dtype == "float64"):
        params = convert.torch.to_params(torch_state(module))
        assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}
        assert identical(convert.torch.to_params(module), params)
        with torch.no_grad():
            module.bias_ih_l0[0] += 1  # params are copies and do not change
        assert not identical(convert.torch.to_params(module), params)
        back = {k: torch.from_dlpack(v) for k, v in convert.torch.from_params(params).items()}
        module.load_state_dict(back)
        assert identical(convert.torch.to_params(module), params)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_pytorch(tmp_path, protocol):
    import torch

    module = torch.nn.LSTM(INPUTS, H, 2, bidirectional=True, proj_size=P)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(4, 2, INPUTS))[0].sum().backward()
    optimizer.step()
    saved = {
        "model": module.bfloat16().state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameters": torch_state(module),
        "turned": torch.randn(4, 6).T[1::2, 2:],
        "epoch": 2**40,
    }
    path = tmp_path / "checkpoint.pt"
    torch.save(saved, path, pickle_protocol=protocol)
    read, theirs = convert.torch.load_file(path), torch.load(path, weights_only=False)
    params = convert.torch.to_params(read["model"])
    assert identical(params, convert.torch.to_params(theirs["model"]))
    assert identical(params, convert.torch.to_params(read["parameters"]))
    np.testing.assert_array_equal(read["turned"], theirs["turned"].numpy())
    assert read["epoch"] == 2**40
    group, moments = read["optimizer"]["param_groups"][0], read["optimizer"]["state"]
    assert group["params"] == [*range(len(moments))]
    assert group["lr"] == 1e-3
    expected = theirs["optimizer"]["state"][0]["exp_avg"].float().numpy()
    np.testing.assert_array_equal(moments[0]["exp_avg"].astype(np.float32), expected)


def test_golden_files_of_pytorch():
    import torch

    for name in ("lstm.pt", "checkpoint.pt", "protocol_4.pt"):
        read, theirs = (
            convert.torch.load_file(GOLDEN / name),
            torch.load(GOLDEN / name, weights_only=False),
        )
        if name != "lstm.pt":
            read, theirs = read["model"], theirs["model"]
        assert [*read] == [*theirs]
        for array, tensor in zip(read.values(), theirs.values(), strict=True):
            np.testing.assert_array_equal(array.astype(np.float32), tensor.float().numpy())


def test_the_examples_of_the_page():
    """Run the code blocks of the page that need a library, after the first block."""
    blocks = re.findall(r"```(python|py)\n(.*?)```", PAGE.read_text(), re.S)
    names = {"__name__": PAGE.stem}
    exec(blocks[0][1], names)
    ran = 0
    for kind, code in blocks:
        if kind == "py":
            exec(compile(code, PAGE.name, "exec"), names)
            cell, params = convert.cell_of(names["params"]), names["params"]
            assert names["outputs"].shape == lj.unroll(cell, params, names["xs"])[1].shape
            ran += 1
    assert ran == 5


def test_modules_of_equinox():
    import equinox as eqx

    cells = [eqx.nn.LSTMCell(n, H, key=jax.random.key(n)) for n in (INPUTS, H)]
    params = convert.equinox.to_params(cells)
    blank = jax.tree.map(jnp.zeros_like, cells)
    filled = convert.equinox.from_params(params, like=blank)
    assert jax.tree.structure(filled) == jax.tree.structure(cells)
    assert identical(filled, cells)
    without = eqx.nn.LSTMCell(INPUTS, H, use_bias=False, key=jax.random.key(0))
    assert identical(
        convert.equinox.from_params(convert.equinox.to_params(without), like=without), without
    )
    gru = eqx.nn.GRUCell(INPUTS, H, key=jax.random.key(0))
    blank = jax.tree.map(jnp.zeros_like, gru)
    assert identical(convert.equinox.from_params(convert.equinox.to_params(gru), like=blank), gru)


def test_layers_of_keras():
    import keras

    layers = [keras.layers.Bidirectional(keras.layers.LSTM(H)), keras.layers.LSTM(P)]
    for layer, features in zip(layers, (INPUTS, 2 * H), strict=True):
        layer.build((None, None, features))
    params = convert.keras.to_params(layers)
    assert convert.cell_of(params) == lj.stack(
        lj.bidirectional(lj.LSTM(INPUTS, H)), lj.LSTM(2 * H, P)
    )
    fresh = keras.layers.LSTM(P)
    fresh.build((None, None, 2 * H))
    fresh.set_weights(convert.keras.from_params(params[1]))
    assert identical(convert.keras.to_params(fresh), params[1])


def test_a_haiku_network_with_other_modules():
    import haiku as hk

    def net(xs):
        core = hk.DeepRNN([hk.LSTM(H), hk.LSTM(P)])
        return hk.Linear(1)(hk.dynamic_unroll(core, xs, core.initial_state(3))[0])

    network = hk.without_apply_rng(hk.transform(net))
    xs = jax.random.normal(jax.random.key(0), (6, 3, INPUTS))
    theirs = perturbed(network.init(jax.random.key(1), xs))
    params = convert.haiku.to_params(theirs, prefix="lstm")
    outputs = lj.unroll(convert.cell_of(params), params, xs)[1]
    head = theirs["linear"]
    np.testing.assert_allclose(
        network.apply(theirs, xs), outputs @ head["w"] + head["b"], rtol=0, atol=2e-6
    )
    back = theirs | convert.haiku.from_params(params)
    np.testing.assert_allclose(network.apply(back, xs), network.apply(theirs, xs), atol=2e-6)
