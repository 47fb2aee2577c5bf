"""Standard streams that are closed, lose their readers, or lack characters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from pathlib import Path
from experiments.streams import finish_streams, open_streams
open_streams()
file = open(os.environ["FILE"], "w")
for _ in range(3000):
    print("0.1 ± 0.02, and a line that fills the buffer")
    print("µ and ✓", file=sys.stderr)
os.write(2, b"a message of a signal handler")
file.write("done")
file.close()
sys.exit(finish_streams())
"""


def run(tmp_path, redirection, **environment):
    """Exit code and outputs of a program with both streams, and the content of its file."""
    file = tmp_path / "file"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$PROGRAM" {redirection}'],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PROGRAM": PROGRAM, "FILE": str(file), **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr, file.read_text()


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", ">&- 2>&- <&-", "> >(head -n 1)", "2> >(head -n 1 >&2)", "2>/dev/full"],
)
def test_a_program_ends_well_without_readers(tmp_path, redirection):
    code, _, err, content = run(tmp_path, redirection)
    assert (code, content) == (0, "done")
    assert b"Traceback" not in err
    assert b"Exception" not in err


def test_a_full_disk_behind_stdout_is_a_line_and_exit_code_1(tmp_path):
    code, _, err, content = run(tmp_path, ">/dev/full")
    assert (code, content) == (1, "done")
    assert (
        err.splitlines()[-1]
        == b"a message of a signal handlerfailed: stdout: No space left on device"
    )


def test_an_ascii_stream_gets_plain_letters(tmp_path):
    code, out, err, _ = run(tmp_path, "", PYTHONIOENCODING="ascii")
    assert code == 0
    assert out.splitlines()[0] == b"0.1 +- 0.02, and a line that fills the buffer"
    assert err.splitlines()[0] == b"u and ?"


def test_a_name_that_is_not_utf_8_is_printed_as_its_bytes():
    program = "from experiments.streams import *; open_streams(); print(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, b"a\xffb"], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"a\xffb\n")


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">&- 2>&-", "2>&1 | true", "> /dev/null"])
def test_a_training_goes_on_to_its_end(tmp_path, redirection):
    config = tmp_path / "quick.yaml"
    config.write_text(
        "task: {name: adding, length: 5}\nmodel: {hidden_size: 3}\nseeds: 2\n"
        "train: {batch_size: 2, updates: 4, log_every: 2, eval_every: 2, checkpoint_every: 2}\n"
        "eval: {sequences: 4, batch_size: 2}\n"
    )
    words = f"{sys.executable} -m experiments train {config} --workdir {tmp_path}/run"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{words} {redirection}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
