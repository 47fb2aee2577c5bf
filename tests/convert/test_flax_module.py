"""Settings of nnx modules that are not parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstm_jax as lj
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit
from tests.helpers.conversions import compiled_unroll, identical

XS = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)


def cell(kind=nnx.GRUCell, inputs=3, **settings):
    zeros = nnx.initializers.zeros  # orthogonal initialization takes long to compile
    return kind(inputs, 4, recurrent_kernel_init=zeros, rngs=nnx.Rngs(0), **settings)


def both(**settings):
    return nnx.Bidirectional(nnx.RNN(cell()), nnx.RNN(cell(activation_fn=jax.nn.relu)), **settings)


def shared(**settings):
    one = cell(nnx.SimpleCell, activation_fn=jnp.sin)
    return nnx.Bidirectional(nnx.RNN(one), nnx.RNN(one), **settings)


RELU = {"activation_fn": jax.nn.relu}
HARD = {"gate_fn": jax.nn.hard_sigmoid}
MODULES = {
    "gates and candidate": lambda: nnx.RNN(cell(**RELU, **HARD)),
    "optimized": lambda: nnx.RNN(cell(nnx.OptimizedLSTMCell, **HARD)),
    "residual": lambda: nnx.RNN(cell(nnx.SimpleCell, residual=True)),
    "directions": both,
    "sum": lambda: both(merge_fn=jnp.add),
    "shared": lambda: shared(merge_fn=jnp.multiply),
    "stack": lambda: nnx.Sequential(
        both(merge_fn=jnp.add), nnx.RNN(cell(nnx.SimpleCell, 4, **RELU))
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_with_other_settings(name):
    module = MODULES[name]()
    ours, params = flax.to_cell(module)
    graph, state = nnx.split(module)
    expected = quick_jit(lambda state: nnx.merge(graph, state)(XS))(state)
    outputs = compiled_unroll(ours)(params, jnp.swapaxes(XS, 0, 1))[1]
    np.testing.assert_allclose(jnp.swapaxes(outputs, 0, 1), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"flax\.to_params: the module has .*: call to_cell"):
        flax.to_params(module)


def test_a_residual_cell():
    module = cell(nnx.SimpleCell, residual=True, **RELU)
    assert flax.to_cell(module)[0] == lj.TanhRNN(3, 4, activation=jax.nn.relu, residual=True)
    with pytest.raises(ValueError, match="the module has activation_fn and residual, which"):
        flax.to_params(module)


def test_a_module_with_the_default_settings():
    module = nnx.RNN(cell())
    ours, params = flax.to_cell(module)
    assert ours == lj.GRU(3, 4)
    assert identical(params, flax.to_params(module))
    assert flax.to_cell(nnx.state(module))[0] == ours


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nnx.RNN(cell(), reverse=True), "reverse=True is an argument of unroll here"),
        (lambda: both(merge_fn=jnp.maximum), "merge_fn must concatenate, or be jnp.add"),
    ],
)
@pytest.mark.parametrize("function", [flax.to_cell, flax.to_params])
def test_what_no_cell_has_is_refused(module, message, function):
    with pytest.raises(ValueError, match=f"^flax.{function.__name__}: {message}"):
        function(module())
