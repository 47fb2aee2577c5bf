"""Every option of `unroll` is declared once, and each function and layer that unrolls has it."""

import dataclasses
import inspect
import re
from typing import get_type_hints

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import lstm_jax as lj
import lstm_jax.linen
import lstm_jax.nnx
from lstm_jax.backends import select
from lstm_jax.options import OptionArgs, Options
from lstm_jax.unroll import prepare

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Options)}
LINEN_LAYERS = [lstm_jax.linen.LSTM, lstm_jax.linen.Recurrent, lstm_jax.linen.Bidirectional]
NNX_LAYERS = [lstm_jax.nnx.LSTM, lstm_jax.nnx.Recurrent, lstm_jax.nnx.Bidirectional]


def test_every_field_is_a_key_of_option_args_with_its_type():
    assert get_type_hints(OptionArgs) == get_type_hints(Options)


@pytest.mark.parametrize(
    "function",
    [lj.unroll, lj.tbptt, lj.explain, *[layer.__init__ for layer in NNX_LAYERS]],
    ids=lambda function: function.__qualname__,
)
def test_every_field_is_a_parameter_with_its_default(function):
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS
    assert {parameters[name].kind for name in DEFAULTS} == {inspect.Parameter.KEYWORD_ONLY}
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("layer", LINEN_LAYERS, ids=lambda layer: layer.__name__)
def test_every_field_is_a_field_of_the_linen_layers_with_its_default(layer):
    fields = {field.name: field.default for field in dataclasses.fields(layer)}
    assert {name: fields[name] for name in DEFAULTS} == DEFAULTS
    assert {name: getattr(layer, name) for name in DEFAULTS} == DEFAULTS


def nnx_layer(layer, **options):
    sizes = (3, 5) if layer is lstm_jax.nnx.LSTM else (lj.LSTM(3, 5),)
    return layer(*sizes, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("layer", NNX_LAYERS, ids=lambda layer: layer.__name__)
def test_the_nnx_layers_keep_every_option(layer):
    assert Options.of(nnx_layer(layer)) == Options()
    other = {"padding": "hold", "remat": 3, "unroll": 2, "implementation": "scan"}
    assert other.keys() == DEFAULTS.keys()
    assert Options.of(nnx_layer(layer, **other)) == Options(**other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unroll": 2.5}, TypeError, "unroll must be an integer; got 2.5"),
        ({"unroll": 0}, ValueError, "unroll must be at least 1; got 0"),
        ({"padding": "one"}, ValueError, "padding must be one of ('zero', 'hold', 'raw'); got 'on"),
        ({"remat": True}, ValueError, 'remat must be None, "step" or a number of steps of at lea'),
        ({"implementation": "gpu"}, ValueError, "implementation must be None or one of ('scan', "),
    ],
)
@pytest.mark.parametrize("name", ["unroll", "tbptt", "explain", "Recurrent"])
def test_errors_name_the_public_function(name, options, error, message):
    cell = lj.TanhRNN(1, 1)
    params, xs = lj.TanhRNNParams(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.ones(1)), jnp.ones((2, 1))
    calls = {
        "unroll": lambda: lj.unroll(cell, params, xs, **options),
        "tbptt": lambda: lj.tbptt(cell, params, xs, k1=1, **options),
        "explain": lambda: lj.explain(cell, xs, **options),
        "Recurrent": lambda: nnx_layer(lstm_jax.nnx.Recurrent, **options)(jnp.ones((2, 3))),
    }
    with pytest.raises(error, match=f"^{name}: {re.escape(message)}"):
        calls[name]()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoreOptions(Options):
    """The options with one more, that only the scan declares."""

    made_up: bool = False


@pytest.mark.parametrize("implementation", [None, "cpu", "cudnn", "parallel"])
def test_a_backend_that_does_not_declare_an_option_does_not_run_it(implementation):
    cell = lj.MinLSTM(3, 5) if implementation == "parallel" else lj.LSTM(3, 5)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))
    options = MoreOptions(implementation=implementation, made_up=True)
    selection = select(prepare("unroll", cell, params, xs, options=options))
    assert selection.implementation == "scan"
    assert "does not support made_up; made_up=True is given" in str(selection.reasons)
    default = select(prepare("unroll", cell, params, xs, options=MoreOptions()))
    assert "made_up" not in str(default.reasons)


@pytest.mark.parametrize(
    "call",
    [
        lambda cell, params, xs: lj.explain(cell, xs, remaat=3),
        lambda cell, params, xs: lj.tbptt(cell, params, xs, k1=2, remaat=3),
        lambda cell, params, xs: lstm_jax.nnx.Recurrent(cell, rngs=nnx.Rngs(0), remaat=3),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_one(call):
    cell = lj.LSTM(3, 5)
    with pytest.raises(TypeError, match=r"there is no argument remaat; did you mean remat\?"):
        call(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
