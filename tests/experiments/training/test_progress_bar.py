"""The progress display: a bar on a terminal, plain lines elsewhere."""

import io
import re
import sys

import pytest
from rich.console import Console

from experiments.training import progress_bar
from experiments.training.progress_bar import Pace, bar, lines


def screen_of(out):
    """The last two lines of what a bar has printed."""
    text = re.sub(r"\x1b\[[0-9?;]*[A-Za-z]", "", out.getvalue())  # without cursor movements
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()][-2:]


def test_a_bar_fits_80_columns_and_keeps_the_last_metrics():
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with bar("adding seed 0 to 4", start=0, total=6000, console=console) as show:
        assert "compiling" in out.getvalue()
        show(100, "loss 0.1594", "mse 0.1626  within_0.04 0.0725")
        show(150, "loss 0.1451", None)
    screen = screen_of(out)
    assert "adding seed 0 to 4" in screen[0]
    assert "150/6000" in screen[0]
    assert "updates/s" in screen[0]
    assert "left" in screen[0]
    assert "loss 0.1451  mse 0.1626  within_0.04 0.0725" in screen[1]
    assert all(len(line) <= 80 for line in screen)


@pytest.mark.parametrize("width", [24, 40, 50, 71])
def test_a_narrow_terminal_still_has_the_bar_and_the_counts(width):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    with bar("a_task_with_a_long_name seed 0 to 4", 0, 6000, console) as show:
        show(100, "loss 0.1594", None)
        show(4500, "loss 0.1594", None)
    bar_line, values = screen_of(out)
    assert "━" in bar_line
    assert "4500/6000" in bar_line
    assert len(bar_line) <= width
    assert values.strip().startswith("loss 0.1594")


def test_lines_are_printed_after_evaluations(capsys):
    with lines("copy seed 3", start=0, total=20) as show:
        show(5, "loss 2", None)
        show(10, "loss 1", "recall_accuracy 0.5")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("copy seed 3  10/20  loss 1  recall_accuracy 0.5")


def test_training_continues_without_a_reader(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    with lines("x", start=0, total=20) as show:
        show(10, "loss 1", "mse 1")
        show(20, "loss 1", "mse 1")


def test_the_pace_leaves_out_the_time_before_the_first_call():
    pace = Pace(total=1000)
    assert pace(100, now=500.0, evaluated=True) == ""
    assert pace(300, now=502.0, evaluated=False) == "100 updates/s, 7.0 s left"


@pytest.mark.parametrize(("terminal", "chosen"), [(True, "bar"), (False, "lines")])
def test_a_terminal_gets_a_bar(monkeypatch, terminal, chosen):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(progress_bar, chosen, lambda *arguments: arguments)
    assert progress_bar.show_progress("x", 0, 10) == ("x", 0, 10)
