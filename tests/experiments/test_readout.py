"""The readout of a model, from its section in a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from experiments.config.file import dump_config, make_config
from experiments.errors import UserError
from experiments.model import make_model
from experiments.readout import LINEAR, Readout
from lstm_jax.initializers import Uniform, lecun_normal

KEY = jax.random.key(0)
TREE = {"task": {"name": "adding", "length": 5}, "model": {"hidden_size": 3}}


def config_with(**readout):
    return make_config(TREE | {"model": TREE["model"] | {"readout": readout}})


def model_with(**readout):
    config = config_with(**readout)
    return make_model(config.model, config.task)


def test_the_default_is_linear_with_a_bias_of_zeros():
    model = model_with()
    assert model.head == LINEAR
    kernel, bias = model.init(KEY).readout
    np.testing.assert_array_equal(kernel, lecun_normal(jax.random.split(KEY)[1], (3, 1)))
    np.testing.assert_array_equal(bias, jnp.zeros(1))


def test_an_activation_bias_and_initial_weights_of_ones_own():
    model = model_with(activation="sigmoid", kernel_init="Uniform(0.1)", bias_init="Uniform(0.2)")
    assert model.head == Readout(True, jax.nn.sigmoid, Uniform(0.1), Uniform(0.2))
    params = model.init(KEY)
    assert 0 < jnp.abs(params.readout.kernel).max() <= 0.1
    assert 0 < jnp.abs(params.readout.bias).max() <= 0.2
    h = jnp.array([[1.0, 2.0, 3.0]])
    wanted = 1 / (1 + np.exp(-(h @ params.readout.kernel + params.readout.bias[None])))
    np.testing.assert_allclose(model.readout(params, h), wanted, rtol=1e-6)


def test_without_bias():
    model = model_with(bias=False)
    params = model.init(KEY)
    assert params.readout.bias is None
    h = jnp.ones((2, 4, 3))
    np.testing.assert_allclose(model.readout(params, h), h @ params.readout.kernel, rtol=1e-6)


@pytest.mark.parametrize(
    ("readout", "wanted"),
    [
        ({"activation": "sigmod"}, "model.readout.activation: .* did you mean sigmoid?"),
        ({"bias": False, "bias_init": "zeros"}, "model.readout.bias_init: has no effect without"),
        ({"bias_init": "orthogonal"}, "model.readout.bias_init: "),
        ({"kernel_init": "Uniform(-1)"}, "model.readout.kernel_init: "),
        ({"activaton": "tanh"}, "model.readout.activaton: unknown field"),
        ({"activation": "experiments.readout:Readout"}, "model.readout.activation: "),
    ],
)
def test_what_is_wrong_is_named(readout, wanted):
    with pytest.raises(UserError, match=wanted):
        config_with(**readout)


def test_the_section_is_written_and_read_again():
    config = config_with(bias=False, activation="tanh")

    assert make_config(yaml.safe_load(dump_config(config))) == config
