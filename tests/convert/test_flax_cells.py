"""Every cell of Flax: the same outputs with our parameters, and exact round trips."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import lstm_jax as lj
from lstm_jax.convert import cell_of, flax
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import compiled_unroll, identical, random_params

XS = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
GRID = np.random.default_rng(1).normal(size=(2, 5, 4, 4, 3)).astype(np.float32)
ZEROS = nnx.initializers.zeros  # orthogonal initialization takes long to compile


def random_like(tree):
    random = np.random.default_rng(0)
    return jax.tree.map(lambda a: random.normal(0, 0.5, a.shape).astype(a.dtype), tree)


def run_linen(layer, xs=XS):
    """Return random parameters of a layer, and its outputs."""
    variables = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs))
    return variables["params"], quick_jit(layer.apply)(variables, xs)


def run_nnx(kind):
    """Return random parameters of a cell in an `RNN`, and its outputs."""
    rnn = nnx.RNN(kind(3, 4, recurrent_kernel_init=ZEROS, rngs=nnx.Rngs(0)))
    nnx.update(rnn, random_like(nnx.to_pure_dict(nnx.state(rnn, nnx.Param))))
    graph, state = nnx.split(rnn)
    outputs = quick_jit(lambda state, xs: nnx.merge(graph, state)(xs))(state, XS)
    return nnx.to_pure_dict(nnx.state(rnn, nnx.Param)), outputs


LINEN = {
    linen.LSTMCell: lj.LSTM,
    linen.OptimizedLSTMCell: lj.LSTM,
    linen.GRUCell: lj.GRU,
    linen.SimpleCell: lj.TanhRNN,
}
NNX = {
    nnx.LSTMCell: lj.LSTM,
    nnx.OptimizedLSTMCell: lj.LSTM,
    nnx.GRUCell: lj.GRU,
    nnx.SimpleCell: lj.TanhRNN,
}


def outputs_of(cell, params, xs):
    outputs = compiled_unroll(cell)(params, jnp.swapaxes(xs, 0, 1))[1]
    return jnp.swapaxes(outputs, 0, 1)


@pytest.mark.parametrize("kind", LINEN)
def test_a_cell_of_linen(kind):
    theirs, expected = run_linen(linen.RNN(kind(4)))
    params = flax.to_params(theirs)
    assert cell_of(params) == LINEN[kind](3, 4)
    np.testing.assert_allclose(outputs_of(LINEN[kind](3, 4), params, XS), expected, atol=1e-6)
    assert identical({"cell": flax.from_params(params)}, jax.tree.map(jnp.asarray, theirs))


@pytest.mark.parametrize("kind", NNX)
def test_a_cell_of_nnx(kind):
    theirs, expected = run_nnx(kind)
    params = flax.to_params(theirs)
    assert cell_of(params) == NNX[kind](3, 4)
    np.testing.assert_allclose(outputs_of(NNX[kind](3, 4), params, XS), expected, atol=1e-6)
    back = flax.from_params(params, layout=f"nnx.{kind.__name__}")
    assert identical({"cell": back}, jax.tree.map(jnp.asarray, theirs))


def test_the_convolutional_lstm_of_linen():
    theirs, expected = run_linen(linen.RNN(linen.ConvLSTMCell(2, (3, 3))), GRID)
    params = flax.to_params(theirs)
    cell = lj.ConvLSTM((4, 4, 3), 2, kernel_size=3)
    np.testing.assert_allclose(outputs_of(cell, params, GRID), expected, atol=1e-5)
    back = flax.from_params(params)
    for name in ("ih", "hh"):
        assert identical(back[name]["kernel"], jnp.asarray(theirs["cell"][name]["kernel"]))
    total = theirs["cell"]["ih"]["bias"] + theirs["cell"]["hh"]["bias"]
    np.testing.assert_allclose(back["ih"]["bias"], total, atol=1e-6)
    assert not back["hh"]["bias"].any()


def test_a_convolutional_lstm_without_biases_has_those_of_the_call():
    cell = linen.ConvLSTMCell(2, (3, 3), use_bias=False)
    theirs, expected = run_linen(linen.RNN(cell), GRID)
    params = flax.to_params(theirs)
    assert params.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    ours = outputs_of(lj.ConvLSTM((4, 4, 3), 2, kernel_size=3), params, GRID)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_directions_and_lists_of_convolutional_lstms():
    one = random_params(lj.ConvLSTM((4, 4, 3), 2, kernel_size=3))
    upper = random_params(lj.ConvLSTM((4, 4, 4), 2, kernel_size=3))
    both = lj.Directions(one, jax.tree.map(jnp.negative, one))
    back = flax.to_params(flax.from_params((both, upper)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, (both, upper))
    with pytest.raises(ValueError, match="layer 2 must have 2 input features"):
        flax.to_params([flax.from_params(one), flax.from_params(upper)])


def test_different_cells_in_one_stack():
    params = random_params(
        lj.stack(lj.LSTM(3, 4), lj.bidirectional(lj.GRU(4, 2)), lj.TanhRNN(4, 5))
    )
    assert identical(flax.to_params(flax.from_params(params)), params)


def test_cells_that_flax_does_not_have():
    gru = random_params(lj.GRU(3, 4))
    for params, layout, message in (
        (gru, "nnx.GRUCell", "nnx.GRUCell has no recurrent_bias, which must be zero; got values"),
        (gru, "nnx.LSTMCell", "layout 'nnx.LSTMCell' has no cell for GRUParams"),
        (gru._replace(recurrent_bias=None), "linen", "flax has no GRU that resets before"),
        (
            random_params(lj.ConvLSTM((4, 3), 2, kernel_size=3, peephole=True)),
            "linen",
            "linen.ConvLSTMCell has no peepholes",
        ),
        (random_params(lj.LSTM(3, 5)), "nnx", "layout must be one of"),
    ):
        with pytest.raises(ValueError, match=f"^flax.from_params: {re.escape(message)}"):
            flax.from_params(params, layout=layout)


def test_an_mgu_is_refused_by_name():
    theirs = jax.eval_shape(linen.RNN(linen.MGUCell(4)).init, jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"flax\.to_params: lstm_jax has no cell for a linen\.MGU"):
        flax.to_params(theirs)


def test_a_cell_that_both_directions_share():
    cell = linen.GRUCell(4)
    theirs, expected = run_linen(linen.Bidirectional(linen.RNN(cell), linen.RNN(cell)))
    assert theirs.keys() == {"forward_rnn"}
    params = flax.to_params(theirs)
    ours = outputs_of(lj.bidirectional(lj.GRU(3, 4), tied=True), params, XS)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    cell = nnx.SimpleCell(3, 4, recurrent_kernel_init=ZEROS, rngs=nnx.Rngs(0))
    both = nnx.Bidirectional(nnx.RNN(cell), nnx.RNN(cell))
    assert identical(flax.to_params(both), flax.to_params(cell))
    assert identical(flax.to_params(nnx.state(both)), flax.to_params(cell))
    upper = flax.from_params(random_params(lj.LSTM(8, 2)))
    assert identical(flax.to_params([both, upper])[0], flax.to_params(cell))


def layers_of_nnx():
    def rnn(inputs):
        return nnx.RNN(nnx.GRUCell(inputs, 4, recurrent_kernel_init=ZEROS, rngs=nnx.Rngs(0)))

    return rnn(3), rnn(4)


def test_lists_of_layers():
    first, second = layers_of_nnx()
    expected = flax.to_params([first, second])
    for listed in (
        nnx.List([first, second]),
        nnx.Dict(lower=first, upper=second),
        nnx.Sequential(first, second),
        nnx.state(nnx.List([first, second])),
        nnx.to_pure_dict(nnx.state(nnx.Sequential(first, second), nnx.Param)),
    ):
        assert identical(flax.to_params(listed), expected)
    layers = [linen.RNN(linen.SimpleCell(4)) for _ in range(12)]
    shapes = jax.eval_shape(linen.Sequential(layers).init, jax.random.key(0), XS)
    theirs = random_like(shapes)["params"]
    by_number = [theirs[f"layers_{k}"] for k in range(12)]
    assert identical(flax.to_params({"params": theirs}), flax.to_params(by_number))


def test_layers_in_an_unknown_order_are_refused():
    first, second = layers_of_nnx()
    state = nnx.state(nnx.Dict(b=first, a=second))
    message = "pass a list from the input up, such as [theirs['a'], theirs['b']]"
    with pytest.raises(ValueError, match=re.escape(message)):
        flax.to_params(state)
    with pytest.raises(ValueError, match="layers_1/ii/kernel"):
        flax.to_params({"layers_0": {"cell": nnx.state(first.cell)}, "layers_1": {"kernel": 1}})
