"""What --dry-run says."""

import pytest

from experiments.__main__ import main
from experiments.commands.sweep import sweep_command
from experiments.errors import UserError
from experiments.sweep import plan
from experiments.sweep.folder import SweepFolder
from experiments.sweep.groups import make_groups
from experiments.sweep.plan import Timing, describe_plan, make_plan
from experiments.sweep.points import expand
from tests.helpers.sweeps import SWEEP, sweep


@pytest.fixture
def timed(monkeypatch):
    """Groups whose programs were timed; an update of each takes two seconds."""
    groups = []

    def measure(group):
        groups.append(group)
        return Timing(compilation=10.0, update=2.0, evaluation=1.0)

    monkeypatch.setattr(plan, "measure", measure)
    return groups


def test_it_says_what_trains_together_and_how_long(tmp_path, timed):
    text = describe_plan(make_plan(sweep(tmp_path, seeds=2), tmp_path / "out", 64))
    assert "4 points" in text
    assert "group 2: 2 points, 4 lanes under one vmap" in text
    assert "lanes differ in optimizer.learning_rate: 0.01, 1e+30" in text
    assert "model.hidden_size: 2 -> 3" in text
    # Four lanes, six updates, four sequences.
    assert "6 updates, 96 sequences in all" in text
    # 10 s, six updates of 2 s, and an evaluation of 1 s after every second one and at the end.
    assert "time            26.0 s" in text
    assert "at most 52.0 s in all" in text
    assert len(timed) == 2
    assert not (tmp_path / "out").exists()


def test_programs_that_are_not_timed_are_estimated_from_their_size(tmp_path, timed):
    first, second = make_plan(sweep(tmp_path), tmp_path / "out", 64, measure_seconds=-1).groups
    assert len(timed) == 1
    assert (first.measured, second.measured) == (True, False)
    assert second.parameters > first.parameters
    ratio = second.parameters / first.parameters
    assert second.seconds / first.seconds == pytest.approx(ratio)
    assert second.operations / first.operations == pytest.approx(ratio)


def test_equal_programs_are_timed_once(tmp_path, timed):
    text = SWEEP.replace("[2, 3]", "[2]").replace("[1.0e-2, 1.0e+30]", "[0.1, 0.2, 0.3, 0.4]")
    groups = make_plan(sweep(tmp_path, text), tmp_path / "out", max_lanes=2).groups
    assert len(groups) == 2
    assert len(timed) == 1
    assert groups[0].seconds == groups[1].seconds


def test_what_is_begun_or_finished_is_not_counted_as_new(tmp_path, timed):
    spec, folder = sweep(tmp_path), SweepFolder(tmp_path / "out")
    points, _ = expand(spec)
    with folder.locked():
        folder.add(make_groups(points)[0])
    made = make_plan(spec, folder.path, 64)
    assert [each.number for each in made.groups] == [1, None]
    assert "group 1 (begun)" in describe_plan(made)


def test_a_dry_run_times_the_program_and_trains_nothing(tmp_path, capsys):
    spec = sweep(tmp_path, SWEEP.replace("[2, 3]", "[2]"))
    flags = ["--workdir", str(tmp_path / "out"), "--dry-run"]
    assert main(["sweep", str(spec.path), *flags]) == 0
    out = capsys.readouterr().out
    assert "2 points" in out
    assert "timed just now" in out
    assert not (tmp_path / "out").exists()


def test_a_bad_point_is_refused_by_a_dry_run_as_well(tmp_path):
    with pytest.raises(UserError, match="hidden_size"):
        make_plan(sweep(tmp_path, SWEEP.replace("[2, 3]", "[0]")), tmp_path / "out", 64)


def test_a_flag_with_a_slip_is_refused(tmp_path):
    path = str(sweep(tmp_path).path)
    with pytest.raises(UserError, match="--dry-rnu; did you mean --dry-run"):
        sweep_command([path, "--dry-rnu"])
    with pytest.raises(UserError, match="--max_lanes: invalid int value"):
        sweep_command([path, "--max_lanes", "many"])
