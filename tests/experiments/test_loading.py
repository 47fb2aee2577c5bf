"""A run from its folder."""

import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from experiments import load_run
from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks import Adding
from tests.helpers.saved_runs import CONFIG, save_run
from tests.helpers.toys import slow_case

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "adding"
    return path, save_run(path)


@pytest.fixture(scope="module")
def run(saved):
    return load_run(saved[0])


def test_a_run_has_what_was_saved(run, saved):
    path, states = saved
    assert (run.path, run.config, run.task) == (path, CONFIG, Adding(length=6))
    assert run.model == make_model(CONFIG.model, CONFIG.task)
    assert run.progress.update == 20
    assert (run.summary, run.environment) == (None, None)
    assert run.data == ()
    assert repr(run).splitlines() == [
        f"Run of adding, length 6, in {path}",
        "  model    LSTM(input_size=2, hidden_size=3), 76 parameters",
        "  trained  20 of at most 30 updates, not finished; seeds 4 to 5; params of seed 4",
    ]
    jax.tree.map(np.testing.assert_array_equal, run.states, states)


def test_every_layer_has_a_line(run):
    config = dataclasses.replace(CONFIG, model=model_config("gru", hidden_size=3, layers=2))
    shown = repr(dataclasses.replace(run, config=config)).splitlines()
    assert shown[1:3] == [
        "  model    GRU(input_size=2, hidden_size=3),",
        "           GRU(input_size=3, hidden_size=3), 76 parameters",
    ]


def test_parameters_are_the_averaged_ones_of_one_seed(run, saved):
    average = saved[1].opt_state.average
    for seed in (4, 5):
        expected = jax.tree.map(lambda leaf, i=seed - 4: leaf[i], average)
        jax.tree.map(np.testing.assert_array_equal, run.of_seed(seed).params, expected)
        jax.tree.map(np.testing.assert_array_equal, load_run(saved[0], seed).params, expected)
    jax.tree.map(np.testing.assert_array_equal, run.params_of_seeds, average)
    with pytest.raises(ValueError, match="of_seed: seed must be from 4 to 5; got 6"):
        run.of_seed(6)


def test_metrics_are_arrays_and_rows(run):
    nan = np.nan
    assert run.metrics["update"].tolist() == [10, 20]
    np.testing.assert_array_equal(run.metrics["loss"], [[0.5, 0.4], [0.3, nan]])
    assert [*run.metrics] == ["update", "sequences", "loss", "grad_norm"]
    assert run.validation["update"].tolist() == [20]
    np.testing.assert_array_equal(run.validation["mse"], [[0.2, nan]])
    rows = run.rows()
    assert [(row["update"], row["seed"]) for row in rows] == [(10, 4), (10, 5), (20, 4), (20, 5)]
    assert (rows[2]["loss"], rows[2]["validation.mse"]) == (0.3, 0.2)


@pytest.mark.parametrize(("fields", "count"), [({"length": 9}, 4), slow_case({}, None)])
def test_a_run_is_evaluated_as_it_was_trained_and_with_other_fields(run, fields, count):
    """Against the model applied to the sequences by hand."""
    task = dataclasses.replace(CONFIG.task, **fields)
    batch = task.sample((), "test", run.key("test"), count or 12)
    metrics = run.evaluate(sequences=count, **fields)
    outputs = jax.vmap(run.model.apply, in_axes=(0, None))(run.params_of_seeds, batch.inputs)
    errors = outputs[:, -1, :, 0] - jnp.broadcast_to(batch.targets, outputs.shape[0::2])
    np.testing.assert_allclose(metrics["mse"], (errors**2).mean(axis=1), rtol=1e-4)
    assert metrics["mse"].shape == (2,)


@pytest.mark.slow
def test_a_trace_is_of_one_of_the_sequences_of_the_evaluation(run):
    trace = run.trace(sequence=7)
    batch = run.task.sample((), "test", run.key("test"), 12)
    np.testing.assert_array_equal(trace.inputs, batch.inputs[:, 7])
    np.testing.assert_array_equal(trace.targets, batch.targets[:, 7])
    np.testing.assert_allclose(trace.outputs, run.predict(batch.inputs)[:, 7], rtol=1e-5)
    states, gates = lj.trace(run.model.cell, run.params.cell, batch.inputs[:, 7])
    np.testing.assert_allclose(trace.gates.f, gates.f, rtol=1e-6)
    np.testing.assert_allclose(trace.states.c, states.c, rtol=1e-6)
    assert run.draw_gates(sequence=7).get_suptitle().startswith("adding, test sequence 7")
    with pytest.raises(ValueError, match="trace: sequence must be from 0 to 11; got 12"):
        run.trace(12)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"lenght": 9}, TypeError, "evaluate: there is no argument lenght; did you mean length?"),
        ({"length": 1}, ValueError, "evaluate: length: must be at least 2; got 1"),
        ({"sequences": 0}, ValueError, "evaluate: sequences: must be at least 1"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_of_the_function(run, fields, error, message):
    with pytest.raises(error) as caught:
        run.evaluate(**fields)
    assert str(caught.value).startswith(message)


def test_a_folder_without_a_run_names_those_that_are_near(saved, tmp_path):
    runs = saved[0].parent
    (tmp_path / "none").mkdir()
    for path, message in {
        runs: f"{runs} has no config.yaml of a run; there are the runs {runs}/adding",
        runs / "ading": f"there is no folder {runs}/ading; did you mean {runs}/adding?",
        tmp_path / "none": f"{tmp_path}/none is not the folder of a run: it has no config.yaml",
    }.items():
        with pytest.raises(FileNotFoundError) as caught:
            load_run(path)
        assert str(caught.value) == f"load_run: {message}"


def test_a_run_without_a_checkpoint_and_a_damaged_one_are_errors(tmp_path):
    save_run(tmp_path / "new", update=0)
    with pytest.raises(FileNotFoundError, match="new has no checkpoint yet; there is one after 20"):
        load_run(str(tmp_path / "new"))
    save_run(tmp_path / "damaged")
    for file in (tmp_path / "damaged" / "checkpoints").glob("*/*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"load_run: .*damaged.checkpoints: every checkpoint is"):
        load_run(tmp_path / "damaged")
    (tmp_path / "damaged" / "config.yaml").write_text("task: [")
    with pytest.raises(ValueError, match=r"load_run: .*config.yaml"):
        load_run(tmp_path / "damaged")


OWN_TASK = """
from pydantic.dataclasses import dataclass
from experiments.tasks import Adding


@dataclass(frozen=True)
class Halves:
    length: int = 6
    metric, metric_scale, solved, mastered = "mse", "log", Adding.solved, None
    input_size, output_size = 2, 1
    min_length, held_out, markers = None, "longest", "halves"
    sequences = Adding.sequences
    load, sample, loss, metrics = Adding.load, Adding.sample, Adding.loss, Adding.metrics
    baselines, figures, answers = Adding.baselines, Adding.figures, Adding.answers
"""


@pytest.mark.slow
def test_a_task_of_ones_own_is_found_above_the_folder_of_the_run(tmp_path):
    """Saved by a process in the folder of the task, and loaded by one in another folder."""
    (tmp_path / "halves_of_a_test.py").write_text(OWN_TASK)
    tree = {
        "task": {"name": "halves_of_a_test:Halves", "length": 8},
        "model": {"hidden_size": 3},
        "seeds": 2,
    }
    save = f"""
        from experiments.config.file import make_config
        from tests.helpers.saved_runs import save_run
        config = make_config({tree!r}, None, "test")
        save_run(pathlib.Path("runs/halves"), config)
    """
    load = f"""
        from experiments import load_run
        run = load_run({str(tmp_path / "runs" / "halves")!r})
        print(run.task.length, run.evaluate(sequences=2, length=4)["mse"].shape)
    """
    for code, folder in ((save, tmp_path), (load, "/")):
        done = subprocess.run(
            [sys.executable, "-c", "import pathlib\n" + textwrap.dedent(code)],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert done.stdout == "8 (2,)\n"


def test_importing_the_package_loads_no_jax():
    code = "import sys, experiments; assert 'jax' not in sys.modules; print(dir(experiments))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "load_run" in done.stdout
