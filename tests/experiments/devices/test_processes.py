"""One run by several processes: the numbers, the files, the signals, and what is left of a kill."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from experiments.run.workdir import Workdir
from tests.helpers.processes import end, send, start, wait_until

pytestmark = pytest.mark.slow

CONFIG = """\
task: {name: adding, length: 6}
model: {hidden_size: 8}
optimizer: {learning_rate: 0.01}
train: {batch_size: 8, updates: 300, log_every: 2, eval_every: 100, checkpoint_every: 20,
        stop_when: never}
eval: {sequences: 20, batch_size: 20}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "adding.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def by_one(config, tmp_path_factory) -> Path:
    return finished(config, tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def by_two(config, tmp_path_factory) -> Path:
    return finished(config, tmp_path_factory.mktemp("two"), 2)


def finished(config, workdir, count, *flags):
    for code, errors in end(start(config, workdir, count, *flags)):
        assert code == 0, errors
    return workdir


def metrics(workdir):
    return (workdir / "metrics.jsonl").read_bytes()


def losses(workdir):
    return [record["loss"][0] for record in map(json.loads, metrics(workdir).splitlines())]


def files(workdir, update):
    folder = workdir / "checkpoints" / str(update)
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_two_processes_train_as_one_does(by_one, by_two):
    np.testing.assert_allclose(losses(by_two), losses(by_one), rtol=1e-3)
    assert len(losses(by_two)) == 150
    assert files(by_one, 300) == ["state.safetensors"]
    assert files(by_two, 300) == [f"state-0000{p}-of-00002.safetensors" for p in (0, 1)]
    assert (by_two / "figures" / "learning_curve.png").exists()
    environment = Workdir.existing(by_two).environment() or {}
    assert (environment["devices"], environment["processes"]) == (2, 2)
    summaries = [Workdir.existing(path).summary() or {} for path in (by_one, by_two)]
    assert summaries[0]["test"]["mse"]["mean"] == pytest.approx(
        summaries[1]["test"]["mse"]["mean"], rel=1e-3
    )


def test_four_processes_go_on_where_one_stopped_and_one_goes_on_where_four_did(
    config, by_one, tmp_path
):
    finished(config, tmp_path, 1, "--train.updates", "100")
    finished(config, tmp_path, 4, "--train.updates", "200")
    assert files(tmp_path, 200) == [f"state-0000{p}-of-00004.safetensors" for p in range(4)]
    finished(config, tmp_path, 1)
    assert files(tmp_path, 300) == ["state.safetensors"]
    np.testing.assert_allclose(losses(tmp_path), losses(by_one), rtol=1e-3)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_with_one_line_and_the_run_resumes(
    config, by_two, tmp_path, killed
):
    ended = send(
        start(config, tmp_path, 2), killed, signal.SIGKILL, (tmp_path / "checkpoints/20").exists
    )
    code, errors = ended[1 - killed]
    assert (ended[killed][0], code) == (-signal.SIGKILL, 1), errors
    failed = [line for line in errors.splitlines() if not line.startswith(("process", "adding"))]
    assert [line for line in failed if not line.startswith("lstm")] == [
        "failed: another process of this run ended, or cannot be reached"
        f" (process {1 - killed} of 2 stops); what was saved is intact; run the same command again"
        " to resume"
    ]
    assert not (tmp_path / "summary.json").exists()
    finished(config, tmp_path, 2)
    assert metrics(tmp_path) == metrics(by_two)


def test_a_process_that_hangs_ends_the_others_after_its_heartbeats(config, tmp_path):
    started = start(config, tmp_path, 2)
    try:
        wait_until((tmp_path / "checkpoints/20").exists, started)
        started[1].send_signal(signal.SIGSTOP)
        [(code, errors)] = end(started[:1])
    finally:
        started[1].kill()
        started[1].communicate()
    assert code == 1
    assert errors.splitlines()[-1].startswith("failed: another process of this run ended")
    assert "coordination_service" not in errors


def test_a_signal_to_one_process_stops_all_at_the_same_update(config, by_two, tmp_path):
    ended = send(
        start(config, tmp_path, 2), 1, signal.SIGTERM, (tmp_path / "checkpoints/20").exists
    )
    assert [code for code, _ in ended] == [128 + signal.SIGTERM] * 2, ended
    assert all("stopped at update" in errors for _, errors in ended)
    updates = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert len(metrics(tmp_path).splitlines()) == updates[-1] // 2
    finished(config, tmp_path, 2)
    assert metrics(tmp_path) == metrics(by_two)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train.batch_size", "9"], "train.batch_size: must be a multiple of the 2 devices"),
        (["--model.hidden_size", "x"], "model.hidden_size: must be"),
        (["--devices.data", "3"], "devices: 3 x 1 are 3 devices, and there are 2"),
    ],
)
def test_a_config_that_is_refused_ends_all_processes(config, tmp_path, flags, message):
    for code, errors in end(start(config, tmp_path / "run", 2, *flags)):
        assert code == 2, errors
        assert message in errors
    assert not (tmp_path / "run").exists()


def test_hidden_units_over_two_processes(config, by_one, tmp_path):
    flags = ("--devices.data", "1", "--devices.hidden", "2", "--train.updates", "40")
    workdir = finished(config, tmp_path, 2, *flags)
    np.testing.assert_allclose(losses(workdir), losses(by_one)[:20], rtol=1e-3)
