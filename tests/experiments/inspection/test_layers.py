"""The states and gates of the layers of any model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from experiments.config.layer import layer
from experiments.config.model import ModelConfig, model_config
from experiments.inspection.layers import LayerTrace, trace_layers, unit_memories
from experiments.model import ModelParams, make_model
from experiments.tasks import Adding


def test_layers_and_directions_are_named_from_the_input_up():
    both = layer("lstm", hidden_size=3, bidirectional=True, residual=False, input_dropout=0.1)
    config = ModelConfig(layers=(both, layer("tanh_rnn", hidden_size=4)), dropout=0.1)
    model = make_model(config, Adding(length=6))
    params = model.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (6, 2, 2))
    lengths = jnp.array([6, 4])
    traces = trace_layers(model, params, inputs, lengths)
    assert [each.name for each in traces] == ["layer 1, forward", "layer 1, backward", "layer 2"]
    assert [each.cell for each in traces[:2]] == [lj.LSTM(2, 3)] * 2
    forward, backward, top = traces
    xs = jnp.concatenate([forward.states.h, backward.states.h], axis=-1)
    xs = jnp.where((jnp.arange(6)[:, None] < lengths[None])[..., None], xs, 0)
    expected = lj.unroll(lj.TanhRNN(6, 4), params.cell[1], xs, lengths=lengths)[1]
    np.testing.assert_allclose(top.states.h[:4], expected[:4], atol=1e-6)
    assert top.gates is None
    assert backward.gates.f.shape == (6, 2, 3)
    assert "layer 1, backward: LSTM(input_size=2, hidden_size=3)" in repr(backward)
    memories = unit_memories(model, params, inputs, lengths)
    expected = jnp.concatenate([forward.states.c, backward.states.c, top.states.h], axis=-1)
    np.testing.assert_allclose(memories, expected, atol=1e-6)


def test_the_memory_of_a_layer_is_its_cell_state_as_the_output_reads_it():
    c, n, h = jnp.array([[2.0, 3.0]]), jnp.array([[4.0, 0.0]]), jnp.array([[0.1, 0.2]])

    def memory(states):
        return LayerTrace("layer 1", None, states, None).memory.tolist()

    assert memory(lj.LSTMState(h, c)) == c.tolist()
    assert memory((h,)) == h.tolist()
    slstm = lj.SLSTM(2, 2).initial_state()._replace(h=h, c=c, n=n)
    assert memory(slstm) == [[0.5, 3.0]]
    mlstm = lj.MLSTM(2, 2).initial_state()
    assert memory(mlstm) == mlstm.C.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [lj.MLSTM(2, 6), lj.ConvLSTM((4, 4, 1), 2, (3, 3))], ids=["mlstm", "conv_lstm"]
)
def test_matrices_and_images_are_no_units(cell):
    shape = getattr(cell, "input_shape", 2)
    model = dataclasses.replace(
        make_model(model_config(hidden_size=3), Adding()), cell=cell, input_size=shape
    )
    inputs = jnp.ones((6, 2, *(shape if isinstance(shape, tuple) else (shape,))))
    params = ModelParams(cell.init(jax.random.key(0)), None)
    assert unit_memories(model, params, inputs) is None
    (layer,) = trace_layers(model, params, inputs)
    assert layer.memory.shape[:2] == (6, 2)
