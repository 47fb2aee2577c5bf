"""The command bench: measurements, result files, pages and messages."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import lstm_jax as lj
from experiments.__main__ import main
from experiments.bench import folder, results, worker_process
from experiments.bench.cases import Case
from experiments.bench.coordinator import Measured
from experiments.bench.implementation import TUNED, backend_names
from experiments.bench.pages import page
from experiments.bench.peers import find_implementation
from experiments.bench.suites import NAMES, make_suite
from experiments.bench.tables import backends_of

ROOT = Path(__file__).parents[3]
CASES = (Case("tiny", 2, 5, 3, 4), Case("wider", 3, 4, 2, 6))
TINY = replace(make_suite("cpu"), cases=CASES, ceiling=(16, 32), budget=0.005)

# Replacements for the workers of some peers: one without its package, one that cannot start, and
# one that aborts during a measurement.
STAND_INS = {
    "haiku": """
import sys
from experiments.bench import worker
sys.modules["haiku"] = None
worker.main("haiku")
""",
    "torch": "raise RuntimeError('no such library')",
    "flax": """
import os
input()
print('{"versions": {}, "device": "cpu"}', flush=True)
input()
os.abort()
""",
}


def command_with_stand_ins(implementation):
    script = STAND_INS.get(implementation.name.removesuffix(TUNED))
    if script is not None:
        return [sys.executable, "-c", script]
    return [sys.executable, "-m", "experiments.bench.worker", implementation.name]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small suite from the command line: the exit code, the folder and the output."""
    out = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.bench.command.make_suite", lambda name, cores: TINY)
        patch.setattr(
            "experiments.bench.arguments.backend_names", lambda: ("default", "scan", "absent")
        )
        patch.setattr(worker_process, "worker_command", command_with_stand_ins)
        patch.setattr("sys.stdout", printed := (out / "printed.txt").open("w"))
        with printed:
            code = main(
                ["bench", "--rounds", "2", "--against", "haiku,torch,flax", "--out", f"{out}"]
            )
    return code, out, (out / "printed.txt").read_text()


@pytest.fixture
def result(done):
    return json.loads((done[1] / "cpu.json").read_text())


def measured(result, quantity=("forward", "training")):
    return [e for e in result["measurements"] if e["min"] and e["quantity"] in quantity]


def test_own_implementations_are_measured_in_every_round(done, result):
    assert done[0] == 0
    assert {e["implementation"] for e in measured(result)} == {"default", "scan"}
    assert len(measured(result)) == 2 * 2 * len(CASES)
    for entry in measured(result):
        rounds = entry["rounds"]["seconds"]
        assert len(rounds) == 2
        assert all(0 < low <= middle for low, middle in rounds)
        assert entry["min"]["seconds"] == min(low for low, _ in rounds)
        assert entry["median"]["seconds"] == pytest.approx(
            np.mean([m for _, m in rounds]), rel=1e-4
        )


def test_operations_and_rates(result):
    for entry in measured(result):
        case = next(c for c in CASES if c.name == entry["case"])
        B, T, I, H = case.B, case.T, case.I, case.H  # noqa: E741
        # Two operations per element, four gates; backward through both kernels, and to h only.
        forward = 2 * T * B * (I + H) * 4 * H
        backward = forward + 2 * T * B * 4 * H * H
        expected = forward + backward if entry["quantity"] == "training" else forward
        assert entry["flops"] == expected
        rate = expected / entry["min"]["seconds"] / 1e9
        assert entry["gflops"] == pytest.approx(rate, rel=1e-4)


def test_ratios_are_to_this_library(result):
    assert result["reference"] == "default"
    seconds = {
        (e["implementation"], e["case"], e["quantity"]): e["min"]["seconds"]
        for e in measured(result)
    }
    for (name, *where), value in seconds.items():
        entry = results.find(result, name, where[1], where[0])
        expected = value / seconds["default", *where]
        assert entry["ratio"]["seconds"] == pytest.approx(expected, rel=1e-4)


def test_the_page_has_ratios_of_medians(done, result):
    text = (done[1] / "cpu.md").read_text()
    rows = text.partition("## Training step, ratio of medians")[2].partition("##")[0]
    cells = re.search(r"\| lstm_jax, scan \|(.*)\|", rows)[1].split("|")
    for case, cell in zip(CASES, cells, strict=True):
        ours, scan = (
            results.find(result, name, "training", case.name)["median"]["seconds"]
            for name in ("default", "scan")
        )
        assert float(cell) == pytest.approx(scan / ours, abs=0.006)


def test_the_selected_backend_is_reported(done, result):
    selected = {e["implementation"]: e["taken"] for e in measured(result)}
    _, backend, *_ = str(lj.explain(lj.LSTM(3, 4), jax.ShapeDtypeStruct((5, 2, 3), "f4"))).split(
        "\n"
    )
    assert selected == {"default": backend.strip(), "scan": "scan"}
    text = (done[1] / "cpu.md").read_text()
    assert f"time first, jit; backend: {backend.strip()}\n" in text
    # Older result files have no backend; they still give a page.
    for entry in result["measurements"]:
        entry.pop("taken", None)
    assert "; backend" not in page(result, None)


def test_several_backends_are_reported_with_their_cases():
    entries = [("small", "cpu (avx2)"), ("wide", "scan"), ("small", "cpu (avx2)"), ("long", "scan")]
    found = [{"implementation": "default", "case": c, "taken": t} for c, t in entries]
    assert (
        backends_of({"measurements": found}, "default")
        == "; backends: cpu (avx2) for small, scan for wide and long"
    )


def test_workers_inherit_no_variables_that_change_measurements(monkeypatch):
    for name in ("LSTM_JAX_ISA", "MALLOC_ARENA_MAX", "JAX_ENABLE_X64", "XLA_FLAGS", "HARMLESS"):
        monkeypatch.setenv(name, "1")
    found = worker_process.worker_environment(find_implementation("default"), "cpu")
    assert {name for name in found if name.startswith(worker_process.SCRUBBED)} == {"JAX_PLATFORMS"}
    assert (found["XLA_FLAGS"], found["HARMLESS"]) == ("1", "1")
    tuned = worker_process.worker_environment(find_implementation(f"default{TUNED}"), "cpu")
    assert tuned["MALLOC_TRIM_THRESHOLD_"] == "1073741824"
    conditions = results.conditions(TINY, Measured(), "", 1)
    assert conditions["variables"]["XLA_FLAGS"] == "1"
    assert not any(name.startswith(worker_process.SCRUBBED) for name in conditions["variables"])


def without_measurements(name):
    """The result of a suite in which every job was skipped."""
    suite = make_suite(name)
    implementations = [
        find_implementation(each)
        for each in (*suite.own_implementations(backend_names()), *suite.peers)
    ]
    conditions = results.conditions(suite, Measured(), "", 1)
    return results.build(suite, implementations, Measured(), conditions)


def test_only_the_page_on_compilation_says_that_every_round_compiles():
    found = {name for name in NAMES if "compiles again" in page(without_measurements(name), None)}
    assert found == {"compile"}


def test_shares_are_of_the_ceiling_in_the_same_result(result):
    products = measured(result, ["product"])
    assert {e["flops"] for e in products} == {2 * 16**3, 2 * 32**3}
    best = max(e["flops"] / e["min"]["seconds"] / 1e9 for e in products)
    assert list(result["ceiling_gflops"].values()) == [pytest.approx(best, rel=1e-4)]
    for entry in measured(result):
        assert entry["share_of_ceiling"] == pytest.approx(entry["gflops"] / best, rel=1e-3)


def test_a_missing_peer_is_named_and_no_error(done, result):
    missing = {t["implementation"]: t for t in result["troubles"]}
    assert missing["haiku"] == {
        "implementation": "haiku", "kind": "skipped", "reason": "not installed", "where": None
    }  # fmt: skip
    assert missing["absent"]["kind"] == "skipped"
    assert "implementation must be" in missing["absent"]["reason"]
    assert "haiku: skipped: not installed" in done[2]


def test_a_failed_peer_is_named_with_its_last_line_and_the_others_are_measured(done, result):
    missing = {t["implementation"]: t for t in result["troubles"]}
    reason = "RuntimeError: no such library (ended with exit code 1)"
    assert missing["torch"]["kind"] == missing["flax"]["kind"] == "failed"
    assert missing["torch"]["reason"] == reason
    assert "SIGABRT" in missing["flax"]["reason"]
    assert f"torch: failed: {reason}" in done[2]


def test_a_result_has_command_date_versions_and_machine(result):
    assert result["command"] == "python -m experiments bench --against haiku,torch,flax --rounds 2"
    assert result["versions"]["jax"] == jax.__version__
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["cpu"]
    assert re.match(r"\d{4}-\d\d-\d\dT", result["date"])


def test_terminal_output_starts_with_ratios_and_fits_100_columns(done):
    lines = done[2].splitlines()
    assert max(map(len, lines)) <= 100
    titles = [line for line in lines if line.startswith(("Forward", "Training"))]
    assert [title.split(", ")[1].split(" ")[0] for title in titles] == [
        "ratio", "ratio", "ratio", "ratio", "ms", "ms", "GF/s", "GF/s"
    ]  # fmt: skip
    assert "  lstm_jax, default  1.00   1.00" in lines


def test_a_page_and_a_picture_are_written_beside_the_result(done):
    _, out, printed = done
    files = {"cpu.json", "cpu.md", "benchmark_cpu.png", "printed.txt"}
    assert {path.name for path in out.iterdir()} == files
    assert (out / "benchmark_cpu.png").read_bytes().startswith(b"\x89PNG")
    assert "](benchmark_cpu.png)" in (out / "cpu.md").read_text()
    assert all(f"{out / name}" in printed for name in files - {"printed.txt"})


def test_the_page_depends_on_the_result_only(done, capsys):
    _, out, _ = done
    before = (out / "cpu.md").read_text()
    (out / "cpu.md").unlink()
    assert main(["bench", "--render", "--out", str(out)]) == 0
    assert (out / "cpu.md").read_text() == before
    result = json.loads((out / "cpu.json").read_text())
    entry = results.find(result, "scan", "forward", "wider")
    assert f"| {entry['min']['seconds'] * 1e3:#.3g} |" in before
    entry["min"]["seconds"] = 12.345
    assert "| 12,345 |" in page(result, None)


def test_a_page_names_missing_measurements(done, result):
    text = (done[1] / "cpu.md").read_text()
    assert "| lstm_jax, absent | not measured | not measured |" in text
    assert "| haiku | not measured | not measured |" in text
    assert "- haiku: skipped: not installed" in text
    for name in NAMES:
        empty = page(without_measurements(name), None)
        rows = [line for line in empty.splitlines() if re.match(r"\| \w", line)]
        assert rows
        assert all("not measured" in row and not re.search(r"\d \|", row) for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_has_a_page_in_the_documentation_if_and_only_if_it_has_a_result(name):
    docs = folder.Folder(None)
    assert docs.page(name).exists() == docs.result(name).exists()
    if docs.result(name).exists():
        hint = f"run python -m experiments bench --render --suite {name}"
        assert docs.page(name).read_text() == docs.text(results.read(docs.result(name))), hint


def test_a_suite_without_a_result_gets_no_page(done, capsys):
    assert main(["bench", "--render", "--suite", "gpu", "--out", str(done[1])]) == 2
    message = "gpu.json: no such result; measure it with python -m experiments bench --suite gpu"
    assert message in capsys.readouterr().err
    assert not (done[1] / "gpu.md").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--suit", "cpu"], "unexpected argument '--suit'; did you mean --suite?"),
        (["cpu"], "unexpected argument 'cpu'"),
        (["--suite", "steam"], "got 'steam'; did you mean stream?"),
        (["--suite"], "--suite: expected one argument"),
        (["--against", "touch"], "got 'touch'; did you mean torch?"),
        (
            ["--suite", "compile", "--against", "torch"],
            "must be one of flax, haiku, equinox, keras",
        ),
        (["--cases", "small,medum"], "got 'medum'; did you mean medium?"),
        (["--implementations", "scna"], "got 'scna'; did you mean scan?"),
        (["--suite", "stream", "--implementations", "scan"], "must be one of default"),
        (["--implementations", ""], "got ''"),
        (["--rounds", "0"], "--rounds: must be at least 1; got 0"),
        (["--rounds", "few"], "--rounds: invalid int value: 'few'"),
        (["--out", ""], "--out needs a value"),
        (["--out", "file/below"], "file/below: cannot be written"),
        (["--render", "--rounds", "3"], "--rounds does not go with --render"),
        (["--render", "--out", "."], "has no results of benchmarks"),
        (["--render", "--out", "broken"], "broken/cpu.json: cannot be read"),
    ],
)
def test_bad_usage_is_a_short_message_and_exit_code_2(
    flags, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("broken").mkdir()
    Path("broken/cpu.json").write_text('{"suite": "cpu"')
    assert main(["bench", *flags]) == 2
    assert expected in capsys.readouterr().err


def test_help(capsys):
    assert main(["bench", "--help"]) == 0
    assert "cpu, gpu, layers, stream, memory, compile or scaling" in " ".join(
        capsys.readouterr().out.split()
    )


def test_without_measurements_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        worker_process, "worker_command", lambda implementation: [sys.executable, "-c", "boom"]
    )
    assert main(["bench", "--against", "none", "--cases", "small", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "lstm_jax, default: failed: NameError: name 'boom' is not defined" in captured.out
    assert "nothing was written" in captured.err
    assert list(tmp_path.iterdir()) == []


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_an_interrupt_ends_the_workers_and_leaves_nothing(tmp_path):
    # A background process ignores SIGINT, and so would its children: restore the handler.
    with_handler = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('experiments', run_name='__main__')"
    )
    command = [sys.executable, "-c", with_handler, "bench", "--suite", "stream", "--out"]
    running = subprocess.Popen([*command, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    started: list[int] = []
    while running.poll() is None and not started:
        time.sleep(0.02)
        started = [int(child) for child in children.read_text().split()]
    running.send_signal(signal.SIGINT)
    try:
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, errors) == (130, b"")
    assert started
    # A worker that has just started finds stdin closed, and ends by itself.
    deadline = time.monotonic() + 10
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, started))
    assert list(tmp_path.iterdir()) == []
