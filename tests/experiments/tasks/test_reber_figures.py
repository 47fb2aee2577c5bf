"""The figures of the Reber and digits tasks are drawn for any model."""

import jax
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.config.layer import Zoneout
from experiments.config.model import model_config
from experiments.config.schema import Config, EvalConfig
from experiments.inspection.gates_figure import draw_gates
from experiments.inspection.sequence import trace_sequence
from experiments.model import make_model
from experiments.tasks import ContinualReber, Digits, Reber
from experiments.training.keys import data_key

TASKS = [Reber(length=20, strings=20), ContinualReber(length=20, eval_length=1000), Digits()]
MODELS = {
    "gru": model_config("gru", hidden_size=6),
    "stack": model_config(layers=2, hidden_size=6, dropout=0.2),
    "bidirectional": model_config(layers=2, hidden_size=6, bidirectional=True),
    "slstm": model_config("slstm", hidden_size=6),
    "mlstm": model_config("mlstm", hidden_size=6),
    "one unit": model_config("original_lstm", hidden_size=1),
    "zoneout": model_config(hidden_size=6, zoneout=Zoneout(0.1, 0.1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("name", MODELS)
def test_figures_are_drawn_for_any_model(task, name):
    model, data = make_model(MODELS[name], task), task.load()
    params = model.init(jax.random.key(0))
    figures = task.figures(model, params, data, data_key("test", 0), 20)
    held_out = EvalConfig(sequences=20, batch_size=20)
    config = Config(task=task, model=MODELS[name], eval=held_out)
    trace = trace_sequence(config, model, params, data, "test", 3)
    for figure in (*figures.values(), draw_gates(trace)):
        FigureCanvasAgg(figure).draw()
