"""Helpers for tests of ONNX: models of random nodes, and sessions of onnxruntime."""

from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import lstm_jax as lj
from lstm_jax.bidirectional import Directions

onnxruntime.set_default_logger_severity(3)  # no warnings of unused outputs

SLOTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
WITH_BETA = ("Affine", "ScaledTanh", "HardSigmoid")
WITH_ALPHA = (*WITH_BETA, "LeakyRelu", "ThresholdedRelu", "Elu")
BOUNDED = ("Sigmoid", "HardSigmoid", "Tanh", "ScaledTanh", "Softsign")
NAMES = (*WITH_ALPHA, "Softsign", "Softplus", "Relu", "Tanh", "Sigmoid")


def run(model: Any, feeds: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of a model in onnxruntime, by their names."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    return dict(zip(names, session.run(None, arrays), strict=True))


def make_model(
    nodes: list[Any], inputs: dict[str, Any], outputs: list[str], weights: dict[str, Any]
) -> Any:
    """A model of nodes, with the shapes of its inputs and with weights."""
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(k, kind(v.dtype), v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def make_node(kind: str, arrays: dict[str, Any], name: str = "rnn", **attributes: Any) -> Any:
    """A recurrent node with the outputs Y, Y_h and Y_c, whose inputs have the names of ONNX."""
    inputs = [slot if slot in arrays else "" for slot in SLOTS[: None if kind == "LSTM" else 6]]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    return helper.make_node(kind, inputs, outputs, name=name, **attributes)


class RandomNode(NamedTuple):
    """A model of one node with random settings, and values for its inputs."""

    model: Any
    feeds: dict[str, np.ndarray]


def weights_of(kind: str, D: int, I: int, H: int, seed: int = 0) -> dict[str, np.ndarray]:  # noqa: E741
    """The weights W, R and B of a node."""
    k, normal = BLOCKS[kind], np.random.default_rng(seed).standard_normal
    shapes = {"W": (D, k * H, I), "R": (D, k * H, H), "B": (D, 2 * k * H)}
    return {name: 0.5 * normal(shape).astype(np.float32) for name, shape in shapes.items()}


def random_node(seed: int) -> RandomNode:
    """A model whose node has random sizes, inputs and attributes."""
    random = np.random.default_rng(seed)
    kind, direction = (
        random.choice([*BLOCKS]),
        random.choice(["forward", "reverse", "bidirectional"]),
    )
    D = 1 + (direction == "bidirectional")
    T, B, I, H = random.integers(1, [7, 5, 5, 6]).tolist()  # noqa: E741
    weights = weights_of(kind, D, I, H, seed)

    def chance(of: float) -> bool:
        return random.random() < of

    def state() -> np.ndarray:
        return random.standard_normal((D, B, H)).astype(np.float32)

    if chance(0.3):
        del weights["B"]
    feeds = {"X": random.standard_normal((T, B, I)).astype(np.float32)}
    attributes: dict[str, Any] = {"hidden_size": H, "direction": str(direction)}
    if chance(0.5):
        feeds["sequence_lens"] = random.integers(1, T + 1, size=B).astype(np.int32)
    if chance(0.5):
        feeds["initial_h"] = state()
    if kind == "LSTM" and chance(0.5):
        feeds["initial_c"] = state()
    if kind == "LSTM" and chance(0.4):
        weights["P"] = random.standard_normal((D, 3 * H)).astype(np.float32)
    if chance(0.3):
        attributes["clip"] = float(random.uniform(0.2, 2.0))
    if chance(0.4):
        attributes |= {"LSTM": {"input_forget": 1}, "GRU": {"linear_before_reset": 1}}.get(kind, {})
    if chance(0.6):
        count = ACTIVATIONS[kind]
        names = [str(name) for name in random.choice(NAMES, size=count * D)]
        if kind != "RNN":  # an unbounded gate overflows within a few steps
            names[::count] = [str(name) for name in random.choice(BOUNDED, size=D)]
        attributes["activations"] = names
        for parameter, those in (("alpha", WITH_ALPHA), ("beta", WITH_BETA)):
            if needed := sum(name in those for name in names):
                values = random.uniform(0.1, 0.6, size=needed).tolist()
                attributes[f"activation_{parameter}"] = values
    node = make_node(kind, feeds | weights, **attributes)
    return RandomNode(make_model([node], feeds, [*node.output], weights), feeds)


def unrolled(cell: Any, params: Any, node: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs Y, Y_h and Y_c of a node, computed by `unroll`."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    batch_first = bool(attributes.get("layout", 0))

    def time_first(array: np.ndarray) -> np.ndarray:
        return np.swapaxes(array, 0, 1) if batch_first else array

    D = 1 + (attributes.get("direction") == b"bidirectional")
    xs, H = time_first(feeds["X"]), attributes["hidden_size"]
    fields = ("initial_h", "initial_c")[: 1 + (node.op_type == "LSTM")]
    zeros = np.zeros((D, xs.shape[1], H), np.float32)
    given = [time_first(feeds[name]) if name in feeds else zeros for name in fields]
    sides = [tuple(state[d] for state in given) for d in range(D)]
    state = None
    if any(name in feeds for name in fields):
        state = sides[0] if D == 1 else Directions(*sides)
    final, ys = jax.tree.map(
        np.asarray, lj.unroll(cell, params, xs, state, lengths=feeds.get("sequence_lens"))
    )
    ys = np.moveaxis(ys.reshape(*xs.shape[:2], D, H), 2, 1)
    leaves = jax.tree.leaves(final)
    finals = [np.stack(leaves[k :: len(fields)]) for k in range(len(fields))]
    if batch_first:
        return [np.transpose(ys, (2, 0, 1, 3)), *map(time_first, finals)]
    return [ys, *finals]


def max_error(got: Any, expected: Any) -> float:
    """The largest difference of arrays, relative to their largest number where that is above 1."""
    got, expected = ([*map(np.asarray, jax.tree.leaves(tree))] for tree in (got, expected))
    assert [a.shape for a in got] == [b.shape for b in expected]
    scale = max(1.0, *(float(np.abs(b).max()) for b in expected))
    return max(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True)) / scale
