"""Models of configs: every cell with every transform, against cells made by hand."""

import copy
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from experiments.config.fields import FieldErrors
from experiments.config.layer import CELLS, Clip, Dtypes, Zoneout, layer
from experiments.config.model import ModelConfig, model_config
from experiments.kernels import are_kernels
from experiments.layer_cell import TRANSFORMS, layer_cell
from experiments.model import Model, make_model
from lstm_jax.initializers import Chrono, ForgetBias, UniformGate, preset
from tests.helpers.toys import slow_case

I, H, O, T, B = 4, 4, 2, 5, 3  # noqa: E741
KEY = jax.random.key(0)

SIZES = {
    "projected_lstm": {"hidden_size": 6, "projection_size": H},
    "conv_lstm": {"hidden_size": 2, "kernel_size": 2},
    "slstm": {"hidden_size": H, "num_heads": 2},
    "mlstm": {"hidden_size": H, "num_heads": 2},
}
ASKED = {
    "weight_drop": {"weight_drop": 0.3},
    "candidate_dropout": {"candidate_dropout": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": Zoneout(h=0.2)},
    "clip": {"clip": Clip(h=0.5)},
    "learned_initial_state": {"learned_initial_state": True},
    "bidirectional": {"bidirectional": True, "merge": "sum"},
    "residual": {"residual": True},
    "skip": {"skip": True},
    "input_dropout": {"input_dropout": 0.3, "variational": True},
}
DO_NOT_GO = {
    *(("min_lstm", each) for each in ("weight_drop", "recurrent_dropout")),
    *(("mlstm", each) for each in ("weight_drop", "candidate_dropout")),
}


class Sizes:
    """As much of a task as a model reads."""

    input_size: ClassVar[int] = I
    output_size: ClassVar[int] = O


class Grid(Sizes):
    input_size: ClassVar[tuple[int, ...]] = (3, 2)  # type: ignore[assignment]


def sizes(cell):
    return SIZES.get(cell, {"hidden_size": H})


def task_of(cell):
    return Grid() if cell == "conv_lstm" else Sizes()


def inputs_of(task, seed=1):
    shape = (task.input_size,) if isinstance(task.input_size, int) else task.input_size
    return jax.random.normal(jax.random.key(seed), (T, B, *shape))


def one_update(model, task, key=KEY):
    """Parameters before and after an update, and the gradient."""
    xs = inputs_of(task)

    @jax.jit
    def update(params):
        def loss(params):
            return jnp.mean(jnp.square(model.apply(params, xs, key=key) - 1.0))

        grads = jax.grad(loss)(params)
        return grads, jax.tree.map(lambda p, g: p - (0.1 * g).astype(p.dtype), params, grads)

    params = model.init(KEY)
    return params, *update(params)


def check_trains(model, task):
    params, grads, new = one_update(model, task)
    assert jax.tree.all(jax.tree.map(lambda g: jnp.isfinite(g).all(), grads))
    changed = jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), params, new))
    assert sum(map(bool, changed)) >= len(changed) / 2


def test_all_cells_of_a_list_of_layers_are_the_cells_made_by_hand():
    names = [cell for cell in CELLS if cell != "conv_lstm"]
    layers = tuple(layer(cell, **sizes(cell)) for cell in names)
    model = make_model(ModelConfig(layers), Sizes())
    assert model.cell == lj.stack(*(CELLS[cell](I, **sizes(cell)) for cell in names))
    params = jax.eval_shape(model.init, KEY)
    outputs = jax.eval_shape(model.apply, params, inputs_of(Sizes()))
    assert outputs.shape == (T, B, O)
    assert {kind for kind in vars(lj.cells).values() if _is_cell(kind)} == set(CELLS.values())


def _is_cell(kind):
    return isinstance(kind, type) and hasattr(kind, "step") and dataclasses.is_dataclass(kind)


def with_all_transforms():
    asked = {name: value for each in ASKED.values() for name, value in each.items()}
    return make_model(ModelConfig((layer("lstm", hidden_size=H, **asked),)), Sizes())


@pytest.mark.slow
def test_all_transforms_of_one_layer_train():
    check_trains(with_all_transforms(), Sizes())


def test_all_transforms_of_one_layer_draw_only_with_a_key():
    assert set(ASKED) == set(TRANSFORMS)
    model = with_all_transforms()
    inner = lj.recurrent_dropout(lj.candidate_dropout(lj.weight_drop(lj.LSTM(I, H), 0.3), 0.3), 0.3)
    inner = lj.learned_initial_state(lj.clip(lj.zoneout(inner, h=0.2), h=0.5))
    outer = lj.skip(lj.residual(lj.bidirectional(inner, merge="sum")))
    assert model.cell == lj.dropout(outer, 0.3, variational=True)
    params, xs = model.init(KEY), inputs_of(Sizes())
    apply = jax.jit(model.apply)
    evaluated = apply(params, xs)
    np.testing.assert_array_equal(evaluated, apply(params, xs))
    assert not jnp.allclose(evaluated, apply(params, xs, key=KEY))
    assert not jnp.allclose(apply(params, xs, key=KEY), apply(params, xs, key=jax.random.key(2)))


@pytest.mark.slow
@pytest.mark.parametrize("transform", ASKED)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_every_transform(cell, transform):
    task = task_of(cell)
    same = {"hidden_size": 2} if cell == "conv_lstm" and transform == "residual" else {}
    config = layer(cell, **sizes(cell) | same, **ASKED[transform])
    if (cell, transform) in DO_NOT_GO:
        with pytest.raises(FieldErrors) as caught:
            make_model(ModelConfig((config,)), task)
        assert list(caught.value.errors) == [f"layers.0.{transform}"]
        return
    model = make_model(ModelConfig((config,)), task)
    check_trains(model, task)
    bare = CELLS[cell](task.input_size, **sizes(cell) | same)
    by_hand = {
        "weight_drop": lambda: lj.weight_drop(bare, 0.3),
        "candidate_dropout": lambda: lj.candidate_dropout(bare, 0.3),
        "recurrent_dropout": lambda: lj.recurrent_dropout(bare, 0.3),
        "zoneout": lambda: lj.zoneout(bare, h=0.2),
        "clip": lambda: lj.clip(bare, h=0.5),
        "learned_initial_state": lambda: lj.learned_initial_state(bare),
        "bidirectional": lambda: lj.bidirectional(bare, merge="sum"),
        "residual": lambda: lj.residual(bare),
        "skip": lambda: lj.skip(bare),
        "input_dropout": lambda: lj.dropout(bare, 0.3, variational=True),
    }[transform]()
    params, xs = model.init(KEY), inputs_of(task)
    _, hs = lj.unroll(by_hand, params.cell, xs, key=KEY)
    wanted = model.readout(params, hs.reshape(T, B, -1))
    np.testing.assert_allclose(model.apply(params, xs, key=KEY), wanted, rtol=1e-5, atol=1e-6)


def test_layers_of_different_cells_and_sizes_with_lengths():
    layers = (
        layer("gru", hidden_size=3, bidirectional=True),
        layer("refined_lstm", hidden_size=5, zoneout=Zoneout(c=0.1)),
    )
    model = make_model(ModelConfig(layers, dropout=0.1, implementation="scan", remat=2), Sizes())
    by_hand = lj.stack(
        lj.bidirectional(lj.GRU(I, 3)), lj.zoneout(lj.RefinedLSTM(6, 5), c=0.1), dropout=0.1
    )
    assert model.cell == by_hand
    params, xs, lengths = model.init(KEY), inputs_of(Sizes()), jnp.array([5, 2, 0])
    _, hs = lj.unroll(by_hand, params.cell, xs, lengths=lengths, key=KEY)
    np.testing.assert_allclose(
        model.apply(params, xs, lengths=lengths, key=KEY),
        model.readout(params, hs),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_convolutional_model_reads_a_grid():
    layers = (layer("conv_lstm", hidden_size=3, kernel_size=2),
              layer("conv_lstm", hidden_size=2, kernel_size=(3,), strides=2))  # fmt: skip
    model = make_model(ModelConfig(layers), Grid())
    assert model.features == 2 * 2
    check_trains(model, Grid())
    with pytest.raises(FieldErrors, match=r"layers.1.cell: must be conv_lstm"):
        make_model(ModelConfig((layers[0], layer("gru"))), Grid())
    with pytest.raises(FieldErrors, match=r"layers.0.cell: conv_lstm needs inputs with a grid"):
        make_model(ModelConfig(layers), Sizes())


@pytest.mark.parametrize(
    ("config", "cell"),
    [
        (layer("lstm", hidden_size=5, forget_bias=2.0), lj.LSTM(I, 5, bias_init=ForgetBias(2.0))),
        (layer("lstm", hidden_size=5, chrono_t_max=9.0), lj.LSTM(I, 5, bias_init=Chrono(9.0))),
        (layer("lstm", hidden_size=5, preset="torch"), lj.LSTM(I, 5, **preset("torch", I, 5))),
        (layer("gru", hidden_size=5, preset="keras"),
            lj.GRU(I, 5, **preset("keras", I, 5, cell="GRU"))),
        (layer("refined_lstm", hidden_size=5, preset="uniform_gate"),
            lj.RefinedLSTM(I, 5, bias_init=UniformGate())),
        (layer("lstm", hidden_size=5, dtype=Dtypes(compute="bfloat16")),
            lj.LSTM(I, 5, dtype=lj.Policy(compute=jnp.bfloat16))),
        (layer("coupled_lstm", hidden_size=5, forget_bias=3.0),
            lj.CoupledLSTM(I, 5, bias_init=ForgetBias(3.0, gate=0, gates=3))),
        (layer("min_lstm", hidden_size=5, activation="softplus"),
            lj.MinLSTM(I, 5, activation=jax.nn.softplus)),
        (layer("layer_norm_lstm", hidden_size=5, variant="haste", epsilon=1e-3),
            lj.LayerNormLSTM(I, 5, variant="haste", epsilon=1e-3)),
        (layer("original_lstm", hidden_size=5, kernel_init="Uniform(0.1)"),
            lj.OriginalLSTM(I, 5, kernel_init=lj.initializers.Uniform(0.1))),
        (layer("tanh_rnn", hidden_size=5, cell_residual=True), lj.TanhRNN(I, 5, residual=True)),
    ],
    ids=str,
)  # fmt: skip
def test_fields_of_a_layer_are_arguments_of_its_cell(config, cell):
    assert layer_cell(config, I) == cell


@pytest.mark.parametrize("cell", ["gru", "coupled_lstm", "min_lstm"])
def test_chrono_fills_the_gate_that_keeps_the_state(cell):
    bias = layer_cell(layer(cell, hidden_size=50, chrono_t_max=100.0), I).init(KEY).bias
    blocks = jnp.split(bias, 3)
    gate = 0 if cell == "coupled_lstm" else 1
    assert float(blocks[gate].std()) > 0.3
    assert not any(jnp.any(block) for i, block in enumerate(blocks) if i != gate)


@pytest.mark.parametrize(
    ("cell", "fields", "name", "text"),
    [
        ("slstm", {"hidden_size": 5, "num_heads": 2}, "num_heads", "must divide"),
        ("tanh_rnn", {"chrono_t_max": 9.0}, "chrono_t_max", "must be none for the cell 'tanh_rnn'"),
        ("tanh_rnn", {"forget_bias": 1.0}, "forget_bias", "must be none"),
        ("lstm", {"forget_bias": 1.0, "preset": "torch"}, "forget_bias", "with the preset torch"),
        ("lstm", {"forget_bias": 1.0, "bias_init": "zeros"}, "forget_bias", "with bias_init"),
        ("lstm", {"preset": "chrono"}, "chrono_t_max", "missing"),
        ("lstm", {"preset": "torch", "chrono_t_max": 9.0}, "chrono_t_max", "must be none"),
        ("min_lstm", {"preset": "torch"}, "preset", "cell must be one of"),
        ("lstm", {"residual": True}, "residual", "must have as many output features"),
        ("lstm", {"merge": "sum"}, "merge", "has no effect without bidirectional"),
        ("lstm", {"tied": True}, "tied", "has no effect without bidirectional"),
        ("lstm", {"variational": True}, "variational", "has no effect without input_dropout"),
        ("lstm", {"dtype": "float64"}, "dtype", "JAX_ENABLE_X64"),
        ("mlstm", {"candidate_dropout": 0.1}, "candidate_dropout", "on_candidate"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_the_field(cell, fields, name, text):
    with pytest.raises(FieldErrors) as caught:
        make_model(ModelConfig((layer(cell, **fields),)), Sizes())
    assert list(caught.value.errors) == [f"layers.0.{name}"]
    assert text in caught.value.errors[f"layers.0.{name}"]


def test_kernels_and_only_kernels_are_scaled():
    plain, scaled = (
        make_model(model_config("lstm", hidden_size=H, layers=2, init_scale=scale,
                                learned_initial_state=True), Sizes()).init(KEY)
        for scale in (1.0, 2.0)
    )  # fmt: skip
    for a, b, kernel in zip(
        jax.tree.leaves(plain.cell),
        jax.tree.leaves(scaled.cell),
        jax.tree.leaves(are_kernels(plain.cell)),
        strict=True,
    ):
        np.testing.assert_array_equal(b, 2 * a if kernel else a)
    np.testing.assert_array_equal(plain.readout.kernel, scaled.readout.kernel)


def without_validation(config, **values):
    changed = copy.copy(config)
    for name, value in values.items():
        object.__setattr__(changed, name, value)
    return changed


@pytest.mark.parametrize(
    ("cell", "name", "values"),
    [
        ("lstm", "init_scale", (0.5, 2.0)),
        ("lstm", "chrono_t_max", (5.0, 50.0)),
        slow_case("lstm", "forget_bias", (0.5, 2.0)),
        slow_case("gru", "chrono_t_max", (5.0, 50.0)),
        slow_case("coupled_lstm", "forget_bias", (0.5, 2.0)),
    ],
)
def test_lanes_with_traced_fields_are_as_alone(cell, name, values):
    def output(value):
        config = without_validation(layer(cell, hidden_size=H), **{name: value})
        shared = without_validation(model_config(cell, hidden_size=H), layers=(config,))
        model = make_model(shared, Sizes())
        return model.apply(model.init(KEY), inputs_of(Sizes()))

    together = jax.jit(jax.vmap(output))(jnp.array(values))
    for value, outputs in zip(values, together, strict=True):
        np.testing.assert_allclose(outputs, jax.jit(output)(value), rtol=1e-5, atol=1e-6)


def test_class_indices_are_encoded_one_hot():
    model = make_model(model_config("tanh_rnn", hidden_size=H), Sizes())
    params, ids = model.init(KEY), jax.random.randint(KEY, (T, B), 0, I)
    np.testing.assert_array_equal(
        model.apply(params, ids), model.apply(params, jax.nn.one_hot(ids, I))
    )
    assert {field.name for field in dataclasses.fields(Model)} >= {"cell", "features"}
