"""The commands of the command line: output, errors and exit codes."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.run.metrics_file import MetricsFile
from experiments.tasks import Adding
from experiments.tasks.corpus import Corpus, encode
from tests.helpers.toys import slow_case

ROOT = Path(__file__).parents[3]

CONFIG = """\
# A quick look.
task: {name: adding, length: 5}
model: {hidden_size: 3}
train: {batch_size: 2, updates: 4, log_every: 2, eval_every: 2, checkpoint_every: 2}
eval: {sequences: 4, batch_size: 2}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "quick.yaml"
    path.write_text(CONFIG)
    return str(path)


def test_train_then_evaluate(config, capsys, monkeypatch):
    assert main(["train", config]) == 0
    loads = []
    monkeypatch.setattr(Adding, "load", lambda self: loads.append(self) or ())
    assert "runs/quick/figures/learning_curve.png" in capsys.readouterr().out
    assert main(["evaluate", "runs/quick"]) == 0
    out = capsys.readouterr().out
    assert "4 test sequences, after 4 updates" in out
    assert "mse" in out
    assert main(["evaluate", "runs/quick", "--task.length", "9", "--eval.sequences", "6"]) == 0
    assert "adding, length 9, 6 test sequences" in capsys.readouterr().out
    # The data of a task can take long to load.
    assert loads == [Adding(length=5), Adding(length=9)]


def test_fields_are_set_on_the_command_line(config, capsys):
    assert main(["train", config, "--workdir", "here", "--seeds", "2", "--task.length=7"]) == 0
    assert "adding, length 7: solved by" in capsys.readouterr().out
    assert "length: 7" in Path("here/config.yaml").read_text()
    command = json.loads(Path("here/summary.json").read_text())["command"]
    assert command == f"python -m experiments train {config} --seeds 2 --task.length 7"


def test_a_finished_run_prints_its_result_again(config, capsys):
    main(["train", config])
    once = capsys.readouterr()
    assert main(["train", config]) == 0
    again = capsys.readouterr()
    assert again.out == once.out
    assert again.err == "this run is finished, in runs/quick:\n"


def test_plain_lines_without_a_terminal(config, capsys):
    main(["train", config])
    first, what_runs, *lines, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"lstm \d+ units on cpu \(.*\d threads\), float32", what_runs)
    assert first == "adding, length 5: compiling, which takes some seconds"
    assert last == "testing on 4 sequences, and drawing the figures"
    assert [line.split("  ")[1] for line in lines] == ["2/4", "4/4"]
    assert all("loss" in line and "mse" in line for line in lines)
    assert "updates/s" in lines[-1]
    assert not any("\x1b" in line for line in lines)


def test_help_has_the_values_of_the_file_and_of_the_flags(config, capsys):
    assert main(["train", config, "--optimizer.name", "lion", "--help"]) == 0
    out = capsys.readouterr().out
    assert "optimizer: lion" in out
    assert re.search(r"--model\.hidden_size 3 +number of hidden units H", out)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "usage: python -m experiments"),
        (["tran"], "unknown command 'tran'; did you mean train?"),
        (["train"], "CONFIG comes first"),
        (["train", "--seed", "3"], "CONFIG comes first"),
        (["train", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["train", "quick.yaml", "--model.hiden_size", "3"], "did you mean model.hidden_size?"),
        (["train", "quick.yaml", "--workdri", "x"], "did you mean --workdir?"),
        (["train", "quick.yaml", "--seed"], "--seed needs a value"),
        slow_case(
            ["train", "quick.yaml", "--task.name", "chars", "--eval.sequences", "1000000"], "room"
        ),
        (["evaluate", "nowhere"], "nowhere: not the folder of a run"),
        (["evaluate", ".", "--seed", "3"], "--task.* and --eval.* fields only"),
        (["report"], "WORKDIR is missing"),
        (["report", "nowhere"], "nowhere: not the folder of a run"),
        (["train", "quick.yaml", "--workdir", ""], "--workdir needs a value"),
        (["list", "nowhere"], "nowhere: not a folder"),
    ],
)
def test_bad_usage_is_a_short_message_and_exit_code_2(config, capsys, arguments, expected):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_a_command_with_a_slip_is_one_line(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "error: unknown command 'trian'; did you mean train?\n"


def test_evaluate_without_a_checkpoint_is_an_error(config, capsys):
    main(["train", config])
    for path in sorted(Path("runs/quick/checkpoints").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    capsys.readouterr()
    assert main(["evaluate", "runs/quick"]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_a_training_that_fails_exits_1(config, capsys):
    code = main(["train", config, "--optimizer.learning_rate", "1e30", "--optimizer.clip_norm",
                 "none", "--train.updates", "40"])  # fmt: skip
    assert code == 1
    assert "failed: " in capsys.readouterr().err


@pytest.mark.slow
def test_report_is_a_row_for_each_run(config, capsys):
    main(["train", config])
    main(["train", config, "--seeds", "2", "--workdir", "two"])
    capsys.readouterr()
    assert main(["report", "runs/quick", "two", "--format", "markdown"]) == 0
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert "adding, length 5 | mse" in rows[0]
    assert "of 1 seeds" in rows[0]
    assert "of 2 seeds" in rows[1]
    assert f"`python -m experiments train {config} --seeds 2` |" in rows[1]


def test_list_prints_every_config_with_its_header(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for path in (*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs" / "hs1997").glob("*.yaml")):
        header = path.read_text().split("\n\n")[0].replace("# ", "    ").replace("#\n", "\n")
        assert f"{path.name}\n{header}\n" in out


def test_the_module_runs_and_a_closed_pipe_is_no_error():
    """Also if Python buffers its output until the end."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    for reader, start in (("head -n 1", "configs/"), ("true", "")):
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m experiments list | {reader}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(start)


@pytest.mark.parametrize("folder", ["007", "2024_01", "a b", "none", "1e3", "#1"])
def test_a_workdir_is_the_folder_that_was_named(config, folder):
    assert main(["train", config, "--workdir", folder]) == 0
    assert (Path(folder) / "summary.json").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "report", "list"])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert main([command, "-h"]) == 0
    assert "usage: python -m experiments" in capsys.readouterr().out


def test_help_may_come_last(capsys):
    assert main(["evaluate", "runs/x", "--help"]) == 0
    assert main(["report", "runs/x", "-h"]) == 0


def test_a_full_disk_is_a_short_message(config, capsys, monkeypatch):
    def append(self, record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    monkeypatch.setattr(MetricsFile, "append", append)
    assert main(["train", config]) == 1
    err = capsys.readouterr().err
    assert "failed: runs/quick/metrics.jsonl: No space left on device" in err


@pytest.mark.slow
def test_characters_from_training_to_sample(config, capsys, monkeypatch):
    """With a small text instead of the standard library."""
    ids = encode("def remember(self, x):\n    return self.c\n" * 60)
    corpus = Corpus(train=ids, validation=ids[:600], test=ids[600:1200])
    monkeypatch.setattr("experiments.tasks.chars.load_corpus", lambda: corpus)
    flags = ["--task.name", "chars", "--task.length", "8", "--task.eval_length", "100"]
    assert main(["train", config, *flags]) == 0
    out = capsys.readouterr().out
    assert "bits_per_character, 5-gram" in out
    assert "bits_per_character, reached" in out
    sample = Path("runs/quick/figures/sample.txt").read_text()
    assert sample.startswith("def ")
    assert len(sample) > 1000
    assert Path("runs/quick/figures/sample.png").exists()
    flags[-1] = "1000"
    assert main(["train", config, *flags, "--workdir", "other"]) == 2
    assert "room for 0 windows" in capsys.readouterr().err
    assert not Path("other").exists()
