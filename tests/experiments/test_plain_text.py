"""Streams print any text in any encoding."""

import codecs
import os
import subprocess
import sys

import pytest

from experiments.plain_text import encode_plainly, in_ascii

codecs.register_error("plain", encode_plainly)


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
def test_ascii_has_a_readable_form(text, ascii_text):
    assert text.encode("ascii", "plain").decode("ascii") == in_ascii(text)
    assert text.encode("utf-8", "plain").decode("utf-8") == text
    assert in_ascii(text) == ascii_text


def test_a_path_that_is_not_utf_8_is_printed_as_its_bytes():
    path = os.fsdecode(b"runs/\xff\xfe")
    assert f"in {path}: ±".encode("ascii", "plain") == b"in runs/\xff\xfe: +-"
    assert f"in {path}: ±".encode("utf-8", "plain") == b"in runs/\xff\xfe: \xc2\xb1"
    assert "\ud800".encode("utf-8", "plain") == b"?"


def test_the_list_of_configs_prints_in_ascii():
    """The headers of the configs have a plus-minus sign."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    result = subprocess.run(
        [sys.executable, "-m", "experiments", "list"], env=environment, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"+-" in result.stdout
