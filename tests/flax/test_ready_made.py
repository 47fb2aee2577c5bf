"""The layers `LSTM`, `GRU` and `TanhRNN` of linen and NNX: cells, arguments, presets, names."""

import dataclasses
import functools
import inspect
import typing

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import lstm_jax as lj
import lstm_jax.linen as in_linen
import lstm_jax.nnx as in_nnx
from lstm_jax import initializers as init
from lstm_jax.layers import fields as declared
from lstm_jax.linen import params_of
from tests.helpers.flax_peer import close
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
CELLS = {"LSTM": lj.LSTM, "GRU": lj.GRU, "TanhRNN": lj.TanhRNN}
LENGTHS = jnp.array([4, 2])


@pytest.fixture
def inputs():
    return jax.random.normal(KEY, (2, 4, 3))


def layers(name, **arguments):
    """The layer in linen and in NNX."""
    return (
        vars(in_linen)[name](5, **arguments),
        vars(in_nnx)[name](3, 5, rngs=nnx.Rngs(0), **arguments),
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(slow_case(name, {}) for name in CELLS),
        *((name, {"num_layers": 2, "bidirectional": True, "merge": "sum"}) for name in CELLS),
    ],
)
def test_a_layer_is_the_unrolled_cell(name, arguments, inputs):
    linen, other = layers(name, **arguments)
    cell = CELLS[name](3, 5)
    if arguments:
        above = CELLS[name](5, 5)
        cell = lj.stack(*(lj.bidirectional(each, merge="sum") for each in (cell, above)))
    params = cell.init(KEY)
    _, wanted = lj.unroll(cell, params, inputs.swapaxes(0, 1), lengths=LENGTHS)
    ys = linen.apply(in_linen.variables(params), inputs, seq_lengths=LENGTHS)
    close(ys, wanted.swapaxes(0, 1))
    other.set_params(params)
    close(other(inputs, seq_lengths=LENGTHS), ys)


def test_the_arguments_set_the_fields_of_the_cell(inputs):
    settings = {
        "gate_fn": jax.nn.hard_sigmoid,
        "activation_fn": jnp.sin,
        "reset_after": False,
        "recurrent_dropout": 0.5,
        "dtype": jnp.bfloat16,
    }
    wanted = lj.recurrent_dropout(
        lj.GRU(
            3, 5, gate_activation=jax.nn.hard_sigmoid, activation=jnp.sin, reset_after=False,
            dtype=lj.Policy(compute="bfloat16"),
        ),
        0.5,
    )  # fmt: skip
    linen, other = layers("GRU", **settings)
    assert linen.make_cell(inputs)[0] == other.cell == wanted
    linen, other = layers("LSTM", projection_size=2)
    assert linen.make_cell(inputs)[0] == other.cell == lj.ProjectedLSTM(3, 5, projection_size=2)
    linen, other = layers("TanhRNN", bidirectional=True, tied=True)
    assert linen.make_cell(inputs)[0] == lj.bidirectional(lj.TanhRNN(3, 5), tied=True) == other.cell


PRESET_CASES = [
    (name, preset)
    for name in CELLS
    for preset in init.PRESETS
    if name != "TanhRNN" or preset not in ("equinox", "chrono", "uniform_gate")
]


@pytest.mark.parametrize(("name", "preset"), PRESET_CASES)
def test_a_preset_has_the_sizes_of_each_layer_and_direction(name, preset, inputs):
    t_max = 50.0 if preset == "chrono" else None
    linen, other = layers(name, num_layers=2, bidirectional=True, preset=preset, t_max=t_max)
    sizes = [(3, 5), (10, 5)]
    wanted = [CELLS[name](*s, **init.preset(preset, *s, cell=name, t_max=t_max)) for s in sizes]
    wanted = lj.stack(*map(lj.bidirectional, wanted))
    assert linen.make_cell(inputs)[0] == other.cell == wanted


def test_an_initializer_precedes_the_preset(inputs):
    ones = jax.nn.initializers.ones
    for layer in layers("LSTM", preset="flax", bias_init=ones):
        cell = layer.make_cell(inputs)[0] if isinstance(layer, nn.Module) else layer.cell
        params = cell.init(KEY)
        assert (params.bias == 1).all()
        assert cell.recurrent_kernel_init is init.orthogonal_per_gate


def test_the_preset_flax_starts_as_the_layer_of_flax(inputs):
    drawn = in_linen.LSTM(5, preset="flax").init(KEY, inputs)["params"]
    assert not drawn["bias"].any()
    assert in_linen.LSTM(5).init(KEY, inputs)["params"]["bias"].any()


def test_what_is_wrong_with_a_preset_is_named(inputs):
    for arguments, message in [
        ({"preset": "flux"}, "no preset 'flux'; did you mean 'flax'"),
        ({"preset": "chrono"}, "chrono needs t_max"),
        ({"t_max": 3.0}, "LSTM: t_max is for preset='chrono'; got no preset"),
        ({"preset": "keras", "projection_size": 2}, "there is no 'keras' for ProjectedLSTM"),
        ({"tied": True}, "LSTM: tied=True is for bidirectional=True; got False"),
    ]:
        with pytest.raises(ValueError, match=message):
            in_nnx.LSTM(3, 5, rngs=nnx.Rngs(0), **arguments)
        with pytest.raises(ValueError, match=message):
            in_linen.LSTM(5, **arguments).init(KEY, inputs)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("hidden_features", "features"),
        ("hidden_size", "features"),
        ("num_units", "features"),
        ("units", "features"),
        ("gate_activation", "gate_fn"),
        ("num_layer", "num_layers"),
        ("go_backwards", "reverse"),
    ],
)
def test_names_of_other_libraries_say_what_was_meant(given, meant):
    message = f"LSTM: there is no argument {given}; did you mean {meant}?"
    with pytest.raises(TypeError) as error:
        in_linen.LSTM(**{given: 5})
    assert str(error.value) == message
    with pytest.raises(TypeError) as error:
        in_nnx.LSTM(3, **{given: 5}, rngs=nnx.Rngs(0))
    assert str(error.value) == message


def test_the_input_size_and_unknown_names():
    with pytest.raises(TypeError, match=r"GRU: there is no argument in_features: .* of the inputs"):
        in_linen.GRU(in_features=3, features=5)
    with pytest.raises(TypeError, match="input_size; did you mean in_features"):
        in_nnx.GRU(input_size=3, features=5, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"there is no argument xyz; there are features"):
        in_linen.TanhRNN(5, xyz=3)
    with pytest.raises(
        TypeError, match="Recurrent: there is no argument remaat; did you mean remat"
    ):
        in_nnx.Recurrent(lj.LSTM(3, 5), remaat=3, rngs=nnx.Rngs(0))

    with pytest.raises(TypeError, match="LSTM: only features may be given by position; got"):
        in_linen.LSTM(5, 2)
    with pytest.raises(TypeError, match="GRU: only in_features, features may be given by position"):
        in_nnx.GRU(3, 5, 2, rngs=nnx.Rngs(0))

    class Own(in_linen.LSTM):
        """A subclass with a field of its own."""

        extra: int = 0

    assert Own(5, extra=3).extra == 3
    with pytest.raises(TypeError, match="Own: there is no argument units; did you mean features"):
        Own(units=5)


@pytest.mark.parametrize("name", CELLS)
def test_one_declaration_lists_the_arguments_everywhere(name):
    fields = vars(declared)[f"{name}Fields"]
    names = {field.name for field in dataclasses.fields(fields)}
    args = vars(declared).get(f"{name}Args", declared.LayerArgs)
    assert typing.get_type_hints(args).keys() == names  # what type checkers are told
    for library in (in_linen, in_nnx):
        layer = vars(library)[name]
        parameters = inspect.signature(layer.__init__).parameters
        assert names < parameters.keys()
        assert all(f"\n  {each}: " in layer.__doc__ for each in names)
        for field in dataclasses.fields(fields):
            assert parameters[field.name].default == field.default


def test_a_function_gets_the_shape_of_several_feature_axes():
    images = jax.random.normal(KEY, (2, 3, 6, 5, 3))
    make = functools.partial(lj.ConvLSTM, hidden_size=4, kernel_size=3)
    layer = in_linen.Recurrent(make, feature_axes=3)
    outputs, drawn = layer.init_with_output(KEY, images)
    fixed = in_linen.Recurrent(lj.ConvLSTM((6, 5, 3), 4, kernel_size=3))
    close(fixed.apply(drawn, images), outputs)
    both = in_linen.Bidirectional(lambda shape: make(shape), feature_axes=3)
    assert both.init_with_output(KEY, images)[0].shape == (2, 3, 6, 5, 8)
    stepped = nn.RNN(in_linen.RNNCell(make, feature_axes=3))
    close(stepped.apply({"params": {"cell": drawn["params"]}}, images), outputs, 1e-5)
    with pytest.raises(TypeError) as error:
        in_linen.Recurrent(make).init(KEY, images)
    assert "with feature_axes=3, say" in error.value.__notes__[0]
    with pytest.raises(ValueError, match="Recurrent: feature_axes must be at least 1; got 0"):
        in_linen.Recurrent(make, feature_axes=0).init(KEY, images)


def test_a_module_of_flax_is_no_cell(inputs):
    cell = in_nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))
    message = "cell must be a cell such as LSTM.* got GRUCell, which RNN takes"
    with pytest.raises(TypeError, match=f"Recurrent: {message}"):
        in_nnx.Recurrent(cell, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=f"Recurrent: {message}"):
        in_linen.Recurrent(in_linen.GRUCell(5)).init(KEY, inputs)
    with pytest.raises(TypeError, match=r"Bidirectional: .* RNN, which Flax's Bidirectional takes"):
        in_nnx.Bidirectional(in_nnx.RNN(cell), rngs=nnx.Rngs(0))


def test_tied_directions(inputs):
    cell = lj.GRU(3, 5)
    params = cell.init(KEY)
    linen = in_linen.Bidirectional(cell, tied=True)
    other = in_nnx.Bidirectional(cell, tied=True, rngs=nnx.Rngs(0))
    other.set_params(params)
    assert linen.init(KEY, inputs)["params"].keys() == set(lj.GRUParams._fields)
    cells = [in_linen.GRUCell(5)] * 2
    theirs = nn.Bidirectional(*map(nn.RNN, cells))
    variables = {"params": {"forward_rnn": {"cell": in_linen.variables(params)["params"]}}}
    wanted = theirs.apply(variables, inputs)
    close(linen.apply(in_linen.variables(params), inputs), wanted)
    close(other(inputs), wanted)
    assert params_of(lj.bidirectional(cell, tied=True), in_linen.variables(params)) == params


@pytest.mark.parametrize("time_major", [False, True])
def test_resets_and_masks_of_numbers(time_major, inputs):
    """Flags of environments are floats."""
    flags = (jax.random.uniform(KEY, (2, 4)) < 0.4).at[:, 0].set(True)
    if time_major:
        inputs, flags = inputs.swapaxes(0, 1), flags.T
    linen, other = layers("GRU", time_major=time_major)
    variables = linen.init(KEY, inputs)
    for run in (functools.partial(linen.apply, variables), other):
        for dtype in (jnp.float32, jnp.int32):
            numbers = flags.astype(dtype)
            close(run(inputs, reset=numbers), run(inputs, reset=flags))
            close(run(inputs, mask=numbers), run(inputs, mask=flags))
        assert not jnp.allclose(run(inputs, reset=flags), run(inputs))
        with pytest.raises((TypeError, ValueError), match="GRU: reset"):
            run(inputs, reset=jnp.where(flags, 0.5, 0.0))


def test_copies_of_layers_are_equal():
    assert in_linen.GRU(5, preset="flax") == in_linen.GRU(5, preset="flax")
    chex.assert_trees_all_equal(
        *(nnx.state(in_nnx.GRU(3, 5, preset="nnx", rngs=nnx.Rngs(0))) for _ in range(2))
    )
