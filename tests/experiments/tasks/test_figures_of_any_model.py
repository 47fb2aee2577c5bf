"""The figures of a task are drawn for any model, or left out where they have no meaning."""

import jax
import pytest

from experiments.config.layer import Zoneout
from experiments.config.model import model_config
from experiments.config.schema import Config
from experiments.inspection.gates_figure import draw_gates
from experiments.inspection.sequence import trace_sequence
from experiments.model import make_model
from experiments.tasks import Adding, Chars, Copy
from experiments.training.keys import data_key
from tests.helpers.toys import slow_case

KEY = data_key("test", 0)
ANY = {"predictions.png", "error_against_length.png"}
MEMORY = {*ANY, "memory.png"}
BIDIRECTIONAL = model_config(layers=2, hidden_size=6, bidirectional=True, dropout=0.2)


@pytest.mark.parametrize(
    ("model_of", "names"),
    [
        slow_case(model_config("gru", hidden_size=6), MEMORY, id="gru"),
        slow_case(model_config(layers=2, hidden_size=6, dropout=0.2), MEMORY, id="stack"),
        slow_case(BIDIRECTIONAL, MEMORY, id="bidirectional"),
        slow_case(model_config("slstm", hidden_size=6), MEMORY, id="slstm"),
        slow_case(model_config("mlstm", hidden_size=6), ANY, id="mlstm"),
        slow_case(model_config(hidden_size=6, learned_initial_state=True), MEMORY, id="learned"),
        slow_case(model_config(hidden_size=6, zoneout=Zoneout(0.1, 0.1)), MEMORY, id="zoneout"),
        slow_case(model_config("tanh_rnn", hidden_size=6), MEMORY, id="tanh_rnn"),
    ],
)
def test_figures_of_adding(model_of, names):
    assert_figures(Adding(length=6), model_of, names)


@pytest.mark.slow
def test_figures_of_copy():
    assert_figures(Copy(delay=3), BIDIRECTIONAL, {"recall.png", "memory.png"})


def assert_figures(task, model_of, names):
    """Raise unless the task draws figures of these names, and the gates are drawn."""
    model = make_model(model_of, task)
    params = model.init(jax.random.key(0))
    figures = task.figures(model, params, (), KEY, 20)
    assert figures.keys() == names
    config = Config(task=task, model=model_of)
    trace = trace_sequence(config, model, params, (), "test", 3)
    for figure in (*figures.values(), draw_gates(trace)):
        figure.canvas.draw()


def test_a_model_that_reads_in_both_directions_generates_no_text():
    task = Chars()
    assert task.figures(make_model(BIDIRECTIONAL, task), None, None, KEY, 20) == {}
