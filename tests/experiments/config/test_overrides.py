"""Overrides: of layers by number, of components, and their errors."""

import pytest

from experiments.config.file import config_tree, dump_config, load_config, make_config
from experiments.config.overrides import with_overrides
from experiments.errors import UserError
from experiments.tasks import Adding, Chars

TREE = {
    "task": {"name": "adding", "length": 20},
    "model": {"cell": "slstm", "num_heads": 2, "hidden_size": 8, "dropout": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 0.1, "b2": 0.99, "eps": 1e-6},
}


def with_flags(**flags):
    return make_config(TREE, {name.replace("__", "."): each for name, each in flags.items()}, "f")


def message_of(overrides, tree=TREE):
    with pytest.raises(UserError) as caught:
        make_config(tree, overrides, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("cell", "kept"), [("gru", 9.0), ("slstm", None), ("tanh_rnn", None)])
def test_a_cell_without_a_forget_gate_has_no_timescales(cell, kept):
    tree = {"task": {"name": "adding"}, "model": {"chrono_t_max": 9.0}}
    config = make_config(tree, {"model.cell": cell}, "a.yaml")
    assert config.model.layers[0].chrono_t_max == kept
    with pytest.raises(UserError, match=r"--model.chrono_t_max: must be none for the cell 'slstm'"):
        make_config(tree, {"model.cell": "slstm", "model.chrono_t_max": 5.0}, "a.yaml")


def test_another_component_drops_the_fields_that_only_the_old_one_has():
    config = with_flags(model__cell="gru", optimizer__name="lion", task__name="chars")
    layer, optimizer = config.model.layers[0], config.optimizer
    assert (layer.cell, layer.hidden_size, config.model.dropout) == ("gru", 8, 0.1)
    assert (optimizer.name, optimizer.learning_rate, optimizer.b2) == ("lion", 0.1, 0.99)
    assert config.task == Chars(length=20)
    assert TREE["model"]["num_heads"] == 2
    assert with_flags(model__cell="mlstm").model.layers[0].num_heads == 2
    assert with_flags(task__name="adding").task == Adding(length=20)
    # What neither has is a mistake, as is a flag for what the new one does not have.
    bad = {**TREE, "optimizer": {"name": "adam", "lr": 1.0}}
    assert "f.yaml: optimizer.lr: unknown field" in message_of({"optimizer.name": "sgd"}, bad)
    flags = {"model.cell": "gru", "model.num_heads": 4}
    assert message_of(flags) == "--model.num_heads: unknown field; slstm has it"


def test_equal_layers_may_be_changed_one_by_one():
    config = with_flags(model__layers=3, model__layers__1__cell="gru")
    assert [layer.cell for layer in config.model.layers] == ["slstm", "gru", "slstm"]
    assert [layer.hidden_size for layer in config.model.layers] == [8] * 3
    config = with_flags(model__layers__0__hidden_size=64)
    assert config.model.layers[0].hidden_size == 64
    again = make_config(config_tree(config), {"model.layers.0.num_heads": 4})
    assert again.model.layers[0].num_heads == 4


def test_a_list_of_layers_has_what_stands_beside_it():
    tree = {
        "task": {"name": "adding"},
        "model": {
            "hidden_size": 8,
            "num_heads": 4,
            "zoneout": {"h": 0.1},
            "layers": [{"cell": "slstm"}, {"cell": "gru", "hidden_size": 6}, {}],
        },
    }
    slstm, gru, lstm = make_config(tree).model.layers
    assert (slstm.cell, gru.cell, lstm.cell) == ("slstm", "gru", "lstm")
    assert (slstm.hidden_size, gru.hidden_size, lstm.hidden_size) == (8, 6, 8)
    assert slstm.num_heads == 4
    assert {each.zoneout.h for each in (slstm, gru, lstm)} == {0.1}
    gone = make_config(tree, {"model.layers.1.zoneout.h": 0.0}).model.layers
    assert [each.zoneout.h for each in gone] == [0.1, 0.0, 0.1]
    # A field that no layer has is a mistake.
    tree["model"]["projection_size"] = 3
    assert "model.projection_size: unknown field; projected_lstm has it" in message_of({}, tree)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"model.layers.3.cell": "gru"}, "--model.layers.3.cell: there is no layer 3; there are 1"),
        ({"model.layers.x.cell": "gru"}, "--model.layers.x.cell: there is no layer x"),
        ({"model.dropout.x": 3}, "--model.dropout.x: unknown field; dropout is a single value"),
        ({"model.layers": [{"hidden_size": 4, "residual": True}]},
            "--model.layers.0.residual: residual: cell must have as many output"),
        ({"model.layers": [{"num_heads": 3}, {}]}, "--model.layers.0.num_heads: SLSTM: num_heads"),
        ({"model.num_heads": 3}, "--model.num_heads: SLSTM: num_heads must divide hidden_size = 8"),
        ({"model.cell": "lstm", "model.merge": "sum"}, "--model.merge: has no effect without"),
        ({"train.eval_every": 33}, "--train.eval_every: must be a multiple of train.log_every"),
        ({"train.log_every": 200, "train.checkpoint_every": 400},
            "f.yaml: train.eval_every: must be a multiple of train.log_every (200); got 100"),
        ({"model.dtype": {"compute": "foo"}}, "--model.dtype.compute: must be 'float16'"),
        ({"optimizer.momentum": 0.9}, "--optimizer.momentum: unknown field; sgd has it"),
        ({"model.layers": []}, "--model.layers: must be a number of layers from 1 to 1000"),
        ({"model.layers": True}, "--model.layers: must be a number of layers"),
        ({"model.bias_init": "lecun_normal"}, "--model.bias_init: Can't compute input and output"),
        ({"model.bias_init": "print"}, "--model.bias_init: there is no initializer 'print'"),
        ({"model.bias_init": "jax.numpy:save('x', 1)"}, "only a frozen dataclass of your own"),
        ({"model.cell": "subprocess:Popen"}, "subprocess is a module of Python itself"),
        ({"model.cell": "lstm", "model.activation": "jax.numpy:outer"}, "--model.activation: "),
    ],
)  # fmt: skip
def test_an_error_names_the_flag_or_the_field(overrides, expected):
    message = message_of(overrides)
    assert expected in message
    assert len(message.splitlines()) == 1


def test_all_errors_are_reported_at_once_by_their_flags_or_fields():
    overrides = {"train.eval_every": 33, "eval.sequences": 7, "model.num_heads": 5, "seeds": 2}
    lines = message_of(overrides).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "--train.eval_every",
        "--eval.sequences",
        "--model.num_heads",
    ]
    many = {"task": {"name": "adding", **{f"x{i}": 1 for i in range(100)}}}
    lines = message_of({}, many).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 80 fields more"


def test_the_given_mappings_are_left_as_they_are():
    before = repr(TREE)
    with_overrides(TREE, {"model.cell": "gru", "model.layers.0.clip.h": 1.0, "task.length": 3})
    assert repr(TREE) == before


FULL = [
    {"layers": [{"cell": "lstm", "zoneout": {"h": 0.1, "c": 0.2}, "bidirectional": True}] * 2},
    {"layers": [{"cell": "gru", "reset_after": False}, {"cell": "refined_lstm", "skip": True}]},
    {"cell": "projected_lstm", "projection_size": 4, "kernel_init": "Uniform(bound=0.1)"},
    {"cell": "layer_norm_lstm", "variant": "haste", "epsilon": 1e-3, "preset": "uniform_gate"},
    {"cell": "mlstm", "num_heads": 4, "key_dim": 3, "dtype": {"compute": "bfloat16"}},
    {"cell": "lstm", "chrono_t_max": 100, "clip": {"c": 5.0}, "learned_initial_state": True},
    {"cell": "min_lstm", "activation": "softplus", "input_dropout": 0.1, "variational": True},
]


@pytest.mark.parametrize("model", FULL, ids=range(len(FULL)))
def test_a_dumped_config_loads_as_the_same_config(tmp_path, model):
    config = make_config({"task": {"name": "copy"}, "model": {"hidden_size": 8, **model}})
    text = dump_config(config)
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(tmp_path / "config.yaml") == config
    # What is off is not in the file.
    assert "recurrent_dropout" not in text
    assert ("merge: concat" in text) == ("bidirectional" in text)
    assert "preset: null" not in text
    assert "residual" not in text
