"""Cells written as ONNX models: run by onnxruntime, read back, stacked, and what is refused."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx as library
import pytest
from onnx import helper

import lstm_jax as lj
from lstm_jax.cells.original import squash_g, squash_h
from lstm_jax.convert import onnx, onnx_model, onnx_write
from lstm_jax.convert.onnx import Backward, OnnxActivation, OnnxLSTM
from lstm_jax.convert.onnx_write import SINGLE
from lstm_jax.testing import check_cell
from tests.helpers.conversions import identical, random_params
from tests.helpers.onnx_models import NAMES, make_model, make_node, max_error, run, weights_of
from tests.helpers.toys import slow_case

T, B = 6, 4
LENGTHS = np.array([6, 3, 0, 2], np.int32)
CLIPPED = {
    "gate_activation": OnnxActivation("Sigmoid", clip=0.5),
    "activation": OnnxActivation("Tanh", clip=0.5),
}
BOTH = lj.bidirectional
DEEP = lj.stack(BOTH(lj.LSTM(3, 4)), lj.GRU(8, 5), lj.residual(lj.CoupledLSTM(5, 5)), dropout=0.1)
# What a node or a chain of nodes holds in full, so that reading gives back the same cell.
READ_BACK = [
    lj.LSTM(3, 4),
    lj.LSTM(3, 4, gate_activation=jax.nn.hard_sigmoid, activation=jax.nn.elu),
    lj.PeepholeLSTM(3, 4),
    lj.CoupledLSTM(3, 4),
    lj.CoupledLSTM(3, 4, gate_activation=jax.nn.hard_sigmoid),
    OnnxLSTM(3, 4, coupled=True, output_activation=jax.nn.relu),
    OnnxLSTM(3, 4, **CLIPPED),
    lj.GRU(3, 4),
    lj.GRU(3, 4, reset_after=False),
    lj.GRU(3, 4, **CLIPPED),
    lj.TanhRNN(3, 4),
    lj.TanhRNN(3, 4, activation=jax.nn.leaky_relu),
    lj.learned_initial_state(lj.LSTM(3, 4)),
    lj.learned_initial_state(BOTH(lj.GRU(3, 4))),
    Backward(lj.GRU(3, 4)),
    BOTH(lj.PeepholeLSTM(3, 4)),
    BOTH(lj.TanhRNN(3, 4), lj.TanhRNN(3, 4, activation=jax.nn.softplus)),
    lj.stack(lj.LSTM(3, 4), lj.GRU(4, 5)),
    lj.stack(BOTH(lj.LSTM(3, 4)), BOTH(lj.GRU(8, 5))),
    lj.stack(BOTH(lj.LSTM(3, 4), merge="sum"), Backward(lj.LSTM(4, 4)), lj.TanhRNN(4, 2)),
    lj.stack(BOTH(lj.GRU(3, 4), merge="mean"), lj.GRU(4, 2)),
    lj.stack(BOTH(lj.GRU(3, 4), merge="multiply"), lj.GRU(4, 2)),
]
WRITTEN = [
    *READ_BACK,
    DEEP,
    lj.OriginalLSTM(3, 4),
    lj.OriginalLSTM(3, 4, activation=squash_g, output_activation=squash_h),
    lj.skip(lj.GRU(3, 4)),
    lj.weight_drop(lj.LSTM(3, 4), 0.5),
    lj.recurrent_dropout(lj.learned_initial_state(lj.GRU(3, 4)), 0.5),
    BOTH(lj.LSTM(3, 4), lj.GRU(3, 4), merge="sum"),
    BOTH(lj.PeepholeLSTM(3, 5), lj.LSTM(3, 4)),
    BOTH(lj.learned_initial_state(lj.LSTM(3, 4)), lj.LSTM(3, 4)),
    BOTH(lj.stack(lj.LSTM(3, 4), lj.LSTM(4, 4)), merge="mean"),
    Backward(BOTH(lj.LSTM(3, 4), lj.GRU(3, 5))),
]
EVERY_DAY = (lj.PeepholeLSTM(3, 4), lj.GRU(3, 4, reset_after=False), DEEP)


def compared(cell, **settings):
    """The error of onnxruntime for a written model, and the model's inputs."""
    params = random_params(cell)
    params = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    random = np.random.default_rng(0)
    xs = random.standard_normal((T, B, 3)).astype(np.float32)
    state = None
    model = onnx.from_params(params, cell, **settings)
    names = [value.name for value in model.graph.input]
    feeds = {"xs": xs.swapaxes(0, 1).copy() if settings.get("batch_first") else xs}
    if settings.get("lengths"):
        feeds["lengths"] = LENGTHS
    if settings.get("initial_state"):
        shapes = jax.eval_shape(lambda: cell.initial_state((B,)))
        state = jax.tree.map(lambda s: random.standard_normal(s.shape).astype(s.dtype), shapes)
        feeds |= dict(zip(names[len(feeds) :], jax.tree.leaves(state), strict=True))
    ys, *final = run(model, feeds).values()
    expected = lj.unroll(cell, params, xs, state, lengths=feeds.get("lengths"))
    if settings.get("batch_first"):
        ys = ys.swapaxes(0, 1)
    return max_error([*final, ys], expected), names


@pytest.mark.parametrize(
    "cell", [cell if cell in EVERY_DAY else slow_case(cell) for cell in WRITTEN], ids=repr
)
def test_onnxruntime_computes_a_written_model(cell):
    error, _ = compared(cell, lengths=True, initial_state=True)
    assert error < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("cell", WRITTEN, ids=repr)
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("opset", [14, 20])
def test_onnxruntime_computes_it_from_its_own_state(cell, lengths, opset):
    error, _ = compared(cell, lengths=lengths, batch_first=lengths, opset=opset)
    assert error < 1e-6


def test_inputs_and_outputs_have_the_names_of_the_state():
    error, names = compared(DEEP, batch_first=True, initial_state=True)
    assert error < 1e-6
    sides = [f"layers_0.{side}.initial_{x}" for side in ("forward", "backward") for x in "hc"]
    others = ["layers_1.initial_h", "layers_2.initial_h", "layers_2.initial_c"]
    assert names == ["xs", *sides, *others]


@pytest.mark.parametrize("cell", READ_BACK, ids=repr)
def test_a_written_model_is_read_back_exactly(cell):
    params = random_params(cell)
    model = onnx.from_params(params, cell, lengths=True)
    found, back = onnx.to_cell(model)
    assert found == cell
    assert identical(back, params)


def test_parameters_alone_are_those_of_an_lstm():
    params = random_params(lj.stack(BOTH(lj.LSTM(3, 4)), lj.LSTM(8, 2)))
    assert identical(onnx.to_params(onnx.from_params(params)), params)


def test_float64_is_kept(x64):
    cell = lj.GRU(3, 4, dtype=jnp.float64)
    params = random_params(cell)
    assert identical(onnx.to_params(onnx.from_params(params, cell)), params)


def test_nodes_by_name():
    cell = lj.stack(lj.LSTM(3, 4), lj.GRU(4, 5), lj.TanhRNN(5, 2))
    params = random_params(cell)
    model = onnx.from_params(params, cell)
    assert [node.name for node in model.graph.node if node.name] == [
        f"layers_{k}" for k in range(3)
    ]
    assert identical(onnx.to_params(model, "layers_1"), params[1])
    assert identical(onnx.to_params(model, ["layers_1"]), params[1:2])
    assert identical(onnx.to_params(model, ["layers_0", "layers_1"]), params[:2])
    with pytest.raises(ValueError, match="layers_2 does not read the outputs of layers_0 alone"):
        onnx.to_params(model, ["layers_0", "layers_2"])


def two_layers(between, *, lengths=("", ""), steps=T):
    """A model of two RNNs, bidirectional below, with the given nodes from Y to X2."""
    X = np.ones((steps, B, 3), np.float32)
    below, above = weights_of("RNN", 2, 3, 4), weights_of("RNN", 1, 8, 4)
    weights = below | {f"{name}2": array for name, array in above.items()}
    weights["shape"] = np.array([steps, B, 8])
    lower = make_node("RNN", {"X": X} | below, hidden_size=4, direction="bidirectional")
    upper = helper.make_node("RNN", ["X2", "W2", "R2", "B2"], ["Y2"], name="upper", hidden_size=4)
    lower.input.append(lengths[0])
    upper.input.append(lengths[1])
    return make_model([lower, *between, upper], {"X": X}, ["Y2"], weights)


TRANSPOSE = helper.make_node("Transpose", ["Y"], ["turned"], perm=[0, 2, 1, 3])
RESHAPE = helper.make_node("Reshape", ["turned", "shape"], ["X2"])


@pytest.mark.parametrize("steps", [T, 9])
def test_fixed_sizes_between_layers_are_followed(steps):
    cell, _ = onnx.to_cell(two_layers([TRANSPOSE, RESHAPE], steps=steps))
    assert cell == lj.stack(BOTH(lj.TanhRNN(3, 4)), lj.TanhRNN(8, 4))


@pytest.mark.parametrize(
    ("between", "lengths"),
    [
        ([TRANSPOSE, helper.make_node("Relu", ["turned"], ["turned2"])], ("", "")),
        ([helper.make_node("Identity", ["Y"], ["turned"]), RESHAPE], ("", "")),
        ([TRANSPOSE, RESHAPE], ("", "lengths")),
    ],
)
def test_other_values_between_layers_are_no_stack(between, lengths):
    if between[-1] is not RESHAPE:
        between = [*between, helper.make_node("Reshape", ["turned2", "shape"], ["X2"])]
    message = r"upper does not read the outputs of rnn alone, .* a list of layers: rnn, upper"
    with pytest.raises(ValueError, match=message):
        onnx.to_params(two_layers(between, lengths=lengths))


@pytest.mark.parametrize(
    "cell",
    [
        lj.ProjectedLSTM(3, 4, projection_size=2),
        lj.LayerNormLSTM(3, 4),
        lj.MinLSTM(3, 4),
        lj.SLSTM(3, 4),
        lj.MLSTM(3, 4),
        lj.ConvLSTM((8, 3), 4, (3,)),
        lj.zoneout(lj.LSTM(3, 4), h=0.1),
        lj.clip(lj.LSTM(3, 4), c=1.0),
        lj.stack(lj.LSTM(3, 4), lj.SLSTM(4, 4)),
    ],
    ids=repr,
)
def test_a_cell_that_onnx_cannot_express_is_refused(cell):
    named = type(cell.children()[-1] if isinstance(cell, type(lj.stack(lj.GRU(1, 1)))) else cell)
    message = rf"onnx.from_params: ONNX has nodes for LSTM, .* Backward; got {named.__name__}, in"
    with pytest.raises(TypeError, match=message):
        onnx.from_params(random_params(cell), cell)


class Other(lj.LSTM):
    """An LSTM with equations of its own."""


def test_a_field_that_no_node_has_is_refused(monkeypatch):
    @dataclasses.dataclass(frozen=True, repr=False)
    class Wider(lj.TanhRNN):
        depth: int = 1

    monkeypatch.setitem(onnx_write._WRITERS, Wider, onnx_write._WRITERS[lj.TanhRNN])
    monkeypatch.setattr(onnx_model, "SINGLE", (*SINGLE, Wider))
    params = random_params(Wider(3, 4))
    assert onnx.from_params(params, Wider(3, 4)).graph.node
    with pytest.raises(TypeError, match="from_params: ONNX has no depth in Wider; got 2"):
        onnx.from_params(params, Wider(3, 4, depth=2))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Other(3, 4), "ONNX has nodes for .*; got Other"),
        (BOTH(lj.LSTM(3, 4), merge="none"), "merge must not be 'none'"),
        (lj.LSTM(3, 4, activation=jnp.sin), r"LSTM: activations must be sigmoid, .*; got sin"),
        (
            lj.LSTM(3, 4, **CLIPPED),
            r"LSTM: ONNX has one clip, .*; got OnnxActivation\('Sig",
        ),
        (
            lj.CoupledLSTM(3, 4, gate_activation=jax.nn.relu),
            r"CoupledLSTM: gate_activation must be a function with 1 - f\(x\) = f\(-x\)",
        ),
        (
            lj.OriginalLSTM(3, 4, gate_activation=jax.nn.softplus),
            r"OriginalLSTM: gate_activation must reach 1, .*; got OnnxActivation\('Softplus'\)",
        ),
        (lj.LSTM(3, 4, dtype=jnp.bfloat16), "params must be of float32 or float64; got bfloat16"),
        (
            lj.LSTM(3, 4, dtype=lj.Policy(compute=jnp.bfloat16)),
            "cells must have one dtype, float32 or float64; got LSTM",
        ),
    ],
    ids=repr,
)
def test_settings_that_onnx_cannot_express_are_refused(cell, message):
    with pytest.raises(TypeError, match=message):
        onnx.from_params(random_params(cell), cell)


def test_wrong_arguments():
    params = random_params(lj.LSTM(3, 4))
    with pytest.raises(ValueError, match=r"opset must be from 14 to .*; got 13"):
        onnx.from_params(params, opset=13)
    with pytest.raises(ValueError, match=r"params must be those of LSTM\(input_size=3, hidden_siz"):
        onnx.from_params(params, lj.LSTM(3, 5))
    with pytest.raises(TypeError, match="from_params: cell must have init, initial_state and step"):
        onnx.from_params(params, lj.lstm_step)


@pytest.mark.parametrize("call", [onnx.to_params, onnx.to_cell, onnx.from_params])
def test_the_package_that_is_missing_is_named(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = rf"onnx.{call.__name__}: onnx is not installed; install lstm_jax\[onnx\]"
    with pytest.raises(ImportError, match=message):
        call(random_params(lj.LSTM(3, 4)))


def test_importing_the_converters_needs_no_onnx():
    program = "import sys; sys.modules['onnx'] = None; from lstm_jax.convert import onnx"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_written_model_has_the_lowest_ir_version_of_its_opset():
    model = onnx.from_params(random_params(lj.LSTM(3, 4)))
    assert model.ir_version == helper.find_min_ir_version_for([helper.make_opsetid("", 14)])
    library.checker.check_model(model, full_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("coupled", [False, True])
def test_the_general_lstm_is_a_cell(coupled):
    check_cell(OnnxLSTM(3, 4, coupled=coupled, output_activation=jax.nn.softplus))


def test_the_other_direction_has_no_steps():
    cell = Backward(lj.LSTM(3, 4))
    with pytest.raises(TypeError, match="Backward: there is no single step"):
        cell.step(random_params(cell), cell.initial_state(), jnp.ones(3))


def test_the_page_names_all_that_is_written():
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    names = {kind.__name__ for kind in SINGLE} | {"Backward"}
    assert {name for name in names if f"`{name}`" not in page and f".{name}`" not in page} == set()
    assert {name for name in NAMES if not re.search(rf"\b{name}\b", page)} == set()
