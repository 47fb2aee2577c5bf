"""Streams print any text in any encoding."""

import io
import os
import subprocess
import sys

import pytest

from experiments.plain_text import in_ascii, make_streams_readable


def printed(text, encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    make_streams_readable()
    print(text, end="", flush=True)
    return stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("0.1 ± 0.2", "0.1 +- 0.2"),
        ("3 × 4 … → “x”", '3 x 4 ... -> "x"'),
        ("Läufe naïve", "Laufe naive"),
        ("┏━┓ │─┼ ╭ █▏", "+-+ |-+ + ##"),
        ("漢", "?"),
        ("½ ²", "1/2 2"),
    ],
)
def test_ascii_has_a_readable_form(text, ascii_text, monkeypatch):
    assert printed(text, "ascii", monkeypatch).decode("ascii") == in_ascii(text)
    assert printed(text, "utf-8", monkeypatch).decode("utf-8") == text
    assert in_ascii(text) == ascii_text


def test_a_path_that_is_not_utf_8_is_printed_as_its_bytes(monkeypatch):
    path = os.fsdecode(b"runs/\xff\xfe")
    assert printed(f"in {path}: ±", "ascii", monkeypatch) == b"in runs/\xff\xfe: +-"
    assert printed(f"in {path}: ±", "utf-8", monkeypatch) == b"in runs/\xff\xfe: \xc2\xb1"
    assert printed("\ud800", "utf-8", monkeypatch) == b"?"


def test_streams_that_are_closed_or_not_text_files_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    make_streams_readable()


def test_the_list_of_configs_prints_in_ascii():
    """The headers of the configs have a plus-minus sign."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    result = subprocess.run(
        [sys.executable, "-m", "experiments", "list"], env=environment, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"+-" in result.stdout
