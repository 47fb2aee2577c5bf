"""The picture of the gates over one sequence."""

import numpy as np
import pytest

import lstm_jax as lj
from experiments.inspection.gates_figure import draw_gates
from experiments.inspection.layers import LayerTrace
from experiments.inspection.sequence import SequenceTrace
from lstm_jax.cells.lstm import LSTMGates

T, H = 10, 5
GATE = np.arange(T * H, dtype=np.float32).reshape(T, H) / (T * H)
CELL_STATE = np.zeros((T, H), np.float32)
CELL_STATE[7:, 1], CELL_STATE[3:, 4], CELL_STATE[5:, 2] = 1.0, -2.0, 0.1


def lstm_layer(name):
    gates = LSTMGates(i=GATE, f=1 - GATE, g=GATE - 0.5, o=GATE)
    return LayerTrace(name, lj.LSTM(2, H), lj.LSTMState(CELL_STATE / 2, CELL_STATE), gates)


def tanh_layer(name):
    return LayerTrace(name, lj.TanhRNN(H, 3), (np.ones((T, 3)),), None)


def titled(axes):
    return {each.get_title(loc="left"): each for each in axes if each.get_title(loc="left")}


def image(axes):
    (found,) = axes.images
    return np.asarray(found.get_array())


def test_one_layer_has_its_inputs_gates_memory_and_outputs():
    values = np.linspace(0.1, 0.9, T)
    markers = np.eye(T)[3] + np.eye(T)[7]
    trace = SequenceTrace(
        "adding, test sequence 3",
        (lstm_layer("layer 1"),),
        np.stack([values, markers], axis=-1),
        np.array([1.2], np.float32),
        np.linspace(0, 1, T)[:, None],
        T,
    )
    figure = draw_gates(trace, units=2)
    panels = titled(figure.axes)
    assert [*panels] == [
        "inputs", "input gate i", "forget gate f", "candidate g", "output gate o", "cell state",
        "outputs",
    ]  # fmt: skip
    # Units 4 and 1 change most, 4 before 1.
    np.testing.assert_array_equal(image(panels["cell state"]), CELL_STATE[:, [4, 1]].T)
    np.testing.assert_array_equal(image(panels["forget gate f"]), (1 - GATE)[:, [4, 1]].T)
    assert panels["forget gate f"].images[0].get_clim() == (0, 1)
    assert panels["cell state"].images[0].get_clim() == (-2, 2)
    np.testing.assert_array_equal(panels["inputs"].lines[0].get_ydata(), values)
    marks = panels["inputs"].collections[0].get_segments()
    assert [segment[0][0] for segment in marks] == [3, 7]
    (target,) = panels["outputs"].collections[0].get_offsets().tolist()
    assert target == pytest.approx([T - 1, 1.2])


def test_layers_are_columns_and_only_valid_steps_are_drawn():
    layers = (lstm_layer("layer 1"), tanh_layer("layer 2"))
    classes = np.arange(T) % 3
    outputs = np.eye(9)[classes]
    trace = SequenceTrace("copy, test sequence 0", layers, classes, classes, outputs, 6)
    figure = draw_gates(trace)
    panels = titled(figure.axes)
    assert {"layer 1\ninputs", "layer 2\ninputs", "hidden state"} <= {*panels}
    assert image(panels["hidden state"]).shape == (3, 6)
    assert image(panels["output gate o"]).shape == (H, 6)
    line = panels["outputs"].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), classes[:6])
    assert len(panels["outputs"].collections[0].get_offsets()) == 6
    figure.canvas.draw()


def test_many_features_are_an_image_and_units_are_positive():
    trace = SequenceTrace(
        "mine, test sequence 0", (tanh_layer("layer 1"),), np.ones((T, 7)), None, np.ones((T, 1)), T
    )
    panels = titled(draw_gates(trace).axes)
    assert image(panels["inputs"]).shape == (7, T)
    with pytest.raises(ValueError, match="draw_gates: units must be at least 1; got 0"):
        draw_gates(trace, units=0)
