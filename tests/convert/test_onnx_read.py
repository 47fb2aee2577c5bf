"""ONNX nodes as cells: the cases of the backend suite, onnxruntime, exporters, and errors."""

import importlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.test.case import node as suite

import lstm_jax as lj
from lstm_jax.convert.onnx import Backward, OnnxActivation, OnnxLSTM, to_cell, to_params
from tests.helpers.conversions import GOLDEN, identical
from tests.helpers.onnx_models import (
    make_model,
    make_node,
    max_error,
    random_node,
    run,
    unrolled,
    weights_of,
)
from tests.helpers.toys import slow_case

OPERATORS = ("lstm", "gru", "rnn")
for operator in OPERATORS:  # an import adds the cases
    importlib.import_module(f"onnx.backend.test.case.node.{operator}")
SUITE = [
    case for case in suite._NodeTestCases if case.model.graph.node[0].op_type.lower() in OPERATORS
]


def test_the_suite_has_the_cases_that_are_run():
    kinds = [re.sub("test_(simple_)?", "", case.name).split("_")[0] for case in SUITE]
    assert min(kinds.count(kind) for kind in OPERATORS) >= 4  # 6 since ONNX 1.19


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.name)
def test_a_case_of_the_backend_suite(case):
    ((inputs, expected),) = case.data_sets
    (node,) = case.model.graph.node
    feeds = dict(zip([value.name for value in case.model.graph.input], inputs, strict=True))
    names = [{"seq_length": "sequence_lens"}.get(name, name) for name in feeds]
    feeds = dict(zip(names, feeds.values(), strict=True))
    weights = {name: feeds.pop(name) for name in "WRBP" if name in feeds}
    cell, params = to_cell(case.model, inputs=weights)
    got = unrolled(cell, params, node, feeds)
    got = [array for array, name in zip(got, node.output, strict=False) if name]
    assert max_error(got, expected) < 1e-6


@pytest.mark.parametrize("seed", [*range(4), *map(slow_case, range(4, 120))])
def test_a_random_node_computes_as_in_onnxruntime(seed):
    model, feeds = random_node(seed)
    (node,) = model.graph.node
    expected = run(model, feeds)
    cell, params = to_cell(model)
    assert max_error(unrolled(cell, params, node, feeds), [*expected.values()]) < 1e-5


def test_a_row_without_steps_keeps_its_state_here_and_ends_with_zeros_in_onnxruntime():
    weights = weights_of("LSTM", 1, 3, 4)
    feeds = {
        "X": np.ones((5, 2, 3), np.float32),
        "sequence_lens": np.array([5, 0], np.int32),
        "initial_h": np.ones((1, 2, 4), np.float32),
        "initial_c": np.ones((1, 2, 4), np.float32),
    }
    node = make_node("LSTM", feeds | weights, hidden_size=4)
    model = make_model([node], feeds, [*node.output], weights)
    theirs = [*run(model, feeds).values()]
    ours = unrolled(*to_cell(model), node, feeds)
    assert max_error([a[..., :1, :] for a in ours], [a[..., :1, :] for a in theirs]) < 1e-6
    for state, their_state in zip(ours[1:], theirs[1:], strict=True):
        assert (state[0, 1] == 1).all()
        assert (their_state[0, 1] == 0).all()


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
def test_a_stack_exported_by_pytorch(exporter):
    with np.load(GOLDEN / "torch_onnx.npz") as file:
        golden = dict(file)
    cell, params = to_cell(GOLDEN / f"torch_{exporter}.onnx")
    final, ys = lj.unroll(cell, params, golden["xs"].swapaxes(0, 1))
    assert cell == lj.stack(lj.bidirectional(lj.LSTM(3, 4)), lj.bidirectional(lj.LSTM(8, 4)))
    states = jax.tree.leaves(final)
    expected = [golden["ys"].swapaxes(0, 1), golden["h"], golden["c"]]
    assert max_error([ys, np.stack(states[::2]), np.stack(states[1::2])], expected) < 1e-6


def one(kind="LSTM", D=1, **attributes):
    """A model of one node, of 3 inputs and 4 units."""
    weights = weights_of(kind, D, 3, 4)
    X = np.ones((5, 2, 3), np.float32)
    if D == 2:
        attributes |= {"direction": "bidirectional"}
    node = make_node(kind, {"X": X} | weights, hidden_size=4, **attributes)
    return make_model([node], {"X": X}, [*node.output], weights)


GATE = OnnxActivation("Sigmoid", clip=2.0)
HARD = OnnxActivation("HardSigmoid", 0.2, 0.5)


@pytest.mark.parametrize(
    ("model", "cell"),
    [
        (one(), lj.LSTM(3, 4)),
        (one("GRU"), lj.GRU(3, 4, reset_after=False)),
        (one("GRU", linear_before_reset=1), lj.GRU(3, 4)),
        (one("RNN", activations=["Relu"]), lj.TanhRNN(3, 4, activation=jax.nn.relu)),
        (one("RNN", 2), lj.bidirectional(lj.TanhRNN(3, 4))),
        (one("RNN", direction="reverse"), Backward(lj.TanhRNN(3, 4))),
        (one(input_forget=1), lj.CoupledLSTM(3, 4)),
        (
            one(activations=["HardSigmoid", "Softsign", "Softsign"]),
            lj.LSTM(3, 4, gate_activation=HARD, activation=jax.nn.soft_sign),
        ),
        (
            one(activations=["sigmoid", "tanh", "relu"]),
            OnnxLSTM(3, 4, output_activation=jax.nn.relu),
        ),
        (
            one(input_forget=1, clip=2.0),
            OnnxLSTM(
                3,
                4,
                gate_activation=GATE,
                activation=OnnxActivation("Tanh", clip=2.0),
                coupled=True,
            ),
        ),
    ],
)
def test_the_simplest_cell_is_returned(model, cell):
    found, params = to_cell(model)
    assert found == cell
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, jax.eval_shape(cell.init, jax.random.key(0))
    )


def test_a_model_is_given_as_path_bytes_proto_or_node(tmp_path):
    model = one("GRU", linear_before_reset=1)
    onnx.save(model, tmp_path / "model.onnx")
    expected = to_params(model)
    path = tmp_path / "model.onnx"
    for given in (path, str(path), model.SerializeToString()):
        assert identical(to_params(given), expected)
    weights = weights_of("GRU", 1, 3, 4)
    assert identical(to_params(model.graph.node[0], inputs=weights), expected)
    with pytest.raises(TypeError, match=r"to_params: model must be a path, .*; got dict"):
        to_params({})


def test_weights_may_be_computed_from_constants():
    weights = weights_of("RNN", 1, 3, 4)
    X = np.ones((5, 2, 3), np.float32)
    turned = {"turned": weights["W"].swapaxes(1, 2).copy(), "R": weights["R"]}
    nodes = [
        helper.make_node("Transpose", ["turned"], ["W"], perm=[0, 2, 1]),
        helper.make_node("Constant", [], ["B"], value=onnx.numpy_helper.from_array(weights["B"])),
        make_node("RNN", {"X": X} | weights, hidden_size=4),
    ]
    expected = to_params(one("RNN"))
    assert identical(to_params(make_model(nodes, {"X": X}, ["Y"], turned)), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_dtype_of_the_weights_is_kept(dtype):
    weights = weights_of("GRU", 1, 3, 4)
    weights = {name: array.astype(jnp.dtype(dtype)) for name, array in weights.items()}
    cell, params = to_cell(one("GRU").graph.node[0], inputs=weights)
    kept = jax.dtypes.canonicalize_dtype(dtype)
    assert cell.dtype == kept
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {kept}


def with_state(state, *, nodes=()):
    """A GRU whose initial state is an initializer, or computed by `nodes`."""
    weights = weights_of("GRU", 1, 3, 4)
    X = np.ones((5, 2, 3), np.float32)
    arrays = {"X": X, "initial_h": X} | weights
    node = make_node("GRU", arrays, hidden_size=4, linear_before_reset=1)
    weights |= {} if state is None else {"initial_h": state}
    return make_model([*nodes, node], {"X": X}, [*node.output], weights)


def test_a_constant_initial_state_is_learned():
    state = np.tile(np.arange(4, dtype=np.float32), (1, 2, 1))
    model = with_state(state)
    cell, params = to_cell(model)
    assert cell == lj.learned_initial_state(lj.GRU(3, 4))
    assert params.state.h.tolist() == [0, 1, 2, 3]
    X = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    Y = run(model, {"X": X})["Y"]
    assert max_error(lj.unroll(cell, params, X)[1], Y[:, 0]) < 1e-6


def test_an_initial_state_of_zeros_is_that_of_the_cell():
    zeros = np.zeros((1, 2, 4), np.float32)
    one, four, second = (
        helper.make_node("Constant", [], [name], value_ints=[value])
        for name, value in (("one", 1), ("four", 4), ("second", 1))
    )
    of_batch = [
        *(one, four, second, helper.make_node("Shape", ["X"], ["of_x"])),
        helper.make_node("Gather", ["of_x", "second"], ["rows"]),
        helper.make_node("Concat", ["one", "rows", "four"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["initial_h"]),
    ]
    for model in (with_state(zeros), with_state(None, nodes=of_batch)):
        assert to_cell(model)[0] == lj.GRU(3, 4)


def test_an_initial_state_of_the_caller_is_not_part_of_the_parameters():
    relu = [helper.make_node("Relu", ["X"], ["initial_h"])]
    assert to_cell(with_state(None, nodes=relu))[0] == lj.GRU(3, 4)


def test_a_constant_beside_a_state_of_the_caller_is_not_dropped():
    X, state = np.ones((5, 2, 3), np.float32), np.zeros((1, 2, 4), np.float32)
    weights = weights_of("LSTM", 1, 3, 4)
    arrays = {"X": X, "initial_h": state, "initial_c": state} | weights
    node = make_node("LSTM", arrays, hidden_size=4)

    def model(h):
        inputs = {"X": X, "initial_c": state}
        return make_model([node], inputs, [*node.output], weights | {"initial_h": h})

    assert to_cell(model(state))[0] == lj.LSTM(3, 4)
    with pytest.raises(ValueError, match=r"initial_c is an input of the model, and the other"):
        to_cell(model(state + 1))


def test_a_constant_initial_state_that_differs_between_rows_is_refused():
    state = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    with pytest.raises(ValueError, match=r"node rnn: initial_h is a constant that differs between"):
        to_params(with_state(state))
    with pytest.raises(ValueError, match=r"initial_h must have shape \[D, B, H\] with D = 1 and"):
        to_params(with_state(state[..., :3]))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "backward"}, r"node rnn: direction must be one of .*; got 'backward'"),
        ({"activations": ["Tanh"]}, r"node rnn: activations must be 3; got 1"),
        ({"activations": ["Sigmoid", "Thanh", "Tanh"]}, r"got Thanh; did you mean Tanh\?"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, "Affine needs activation_alpha; got none"),
        ({"hidden_size": 5}, r"node rnn: W must have shape \[D, 4H, I\] = \(1, 20, 3\); got"),
    ],
)
def test_a_wrong_attribute_is_an_error(attributes, message):
    model = one()
    node = model.graph.node[0]
    kept = [each for each in node.attribute if each.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *helper.make_node("LSTM", [], [], **attributes).attribute])
    with pytest.raises(ValueError, match=message):
        to_params(model)


def test_a_weight_that_is_an_input_of_the_model_must_be_given():
    message = r"node rnn: its W must be a constant of the model; W depends on inputs, so pass its"
    with pytest.raises(ValueError, match=message):
        to_params(one().graph.node[0])
    with pytest.raises(TypeError, match="W must be an array of floating-point numbers; got int64"):
        to_params(one().graph.node[0], inputs=dict.fromkeys("WRB", np.ones((1, 1, 1), np.int64)))


def test_no_node_and_a_wrong_name():
    with pytest.raises(ValueError, match=r"the model has no LSTM, GRU or RNN node"):
        to_params(make_model([], {"X": np.ones(3)}, ["X"], {}))
    with pytest.raises(ValueError, match=r"of the model, rnn; got 'rn'; did you mean 'rnn'\?"):
        to_params(one(), "rn")
    with pytest.raises(ValueError, match=r"inputs must be read by a node .*; got 'w'"):
        to_params(one(), inputs={"w": np.ones(3)})
