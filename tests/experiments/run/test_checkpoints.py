"""Checkpoints: what is damaged is found, said, and never used."""

import json
import os
import random
import shutil

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.run.checkpoint_folder import (
    DamagedError,
    checkpoint_updates,
    open_checkpoint,
)
from experiments.run.checkpoints import TrainingProgress
from experiments.run.compare import run_differences
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, LIKE, initial, leaves_equal, reseal, snapshot, toy_train


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def all_bits(folder):
    return [
        (file, bit) for file in sorted(folder.iterdir()) for bit in range(file.stat().st_size * 8)
    ]


def assert_each_flip_is_found(folder, bits):
    for file, bit in bits:
        flip(file, bit)
        with pytest.raises(DamagedError):
            open_checkpoint(folder)
        flip(file, bit)
    open_checkpoint(folder)


def test_a_flipped_bit_is_found(run):
    folder = run / "checkpoints" / "60"
    assert_each_flip_is_found(folder, random.Random(0).sample(all_bits(folder), 400))


@pytest.mark.slow
def test_every_flipped_bit_is_found(run):
    folder = run / "checkpoints" / "60"
    assert_each_flip_is_found(folder, all_bits(folder))


def truncate(folder):
    os.truncate(folder / "state.safetensors", 100)


def empty(folder):
    os.truncate(folder / "state.safetensors", 0)


def grow(folder):
    with (folder / "progress.json").open("a") as file:
        file.write(" ")


def no_state(folder):
    (folder / "state.safetensors").unlink()


def no_checksums(folder):
    (folder / "checksums.json").unlink()


def nothing(folder):
    for file in folder.iterdir():
        file.unlink()


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


def a_pipe(folder):
    (folder / "progress.json").unlink()
    os.mkfifo(folder / "progress.json")


def a_folder(folder):
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir()


def the_older_one(folder):
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("40"), folder)


def of_orbax(folder):
    nothing(folder)
    (folder / "_CHECKPOINT_METADATA").write_text("{}")


DAMAGES = {
    truncate: "state.safetensors has 100 bytes, not ", empty: "state.safetensors has 0 bytes",
    grow: "progress.json has ", no_state: "state.safetensors is missing",
    no_checksums: "checksums.json is missing", nothing: "checksums.json is missing",
    a_file: "it is not a folder", a_pipe: "progress.json cannot be read: not a regular file",
    a_folder: "config.yaml cannot be read: ", the_older_one: "it is the checkpoint of update 40",
    of_orbax: "checksums.json is missing",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used(whole, run, capsys, damage):
    damage(run / "checkpoints" / "60")
    _, progress = Workdir.existing(run).checkpoints.restore(LIKE)
    assert progress.update == 40
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{run}/checkpoints/60: not used: {DAMAGES[damage]}")
    assert line.endswith("; using the checkpoint of update 40")
    toy_train(run)
    assert run_differences(whole, run) == []
    assert sorted(os.listdir(run / "checkpoints")) == ["40", "60"]


def test_a_damaged_older_checkpoint_is_in_nobodys_way(whole, run, capsys):
    nothing(run / "checkpoints" / "40")
    toy_train(run)
    assert capsys.readouterr().err == ""
    assert run_differences(whole, run) == []


def test_if_all_checkpoints_are_damaged_nothing_is_changed(run):
    truncate(run / "checkpoints" / "60")
    no_state(run / "checkpoints" / "40")
    before = snapshot(run)
    with pytest.raises(UserError) as caught:
        toy_train(run)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{run}/checkpoints: every checkpoint is damaged, and nothing was changed:"
    assert rest[0].startswith("  60: state.safetensors has 100 bytes, not ")
    assert rest[1] == "  40: state.safetensors is missing"
    assert rest[2] == "put back a copy, or train anew in another folder with --workdir"
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        Workdir.existing(run).checkpoints.restore(LIKE)
    assert snapshot(run) == before


def test_a_damaged_checkpoint_stays_until_a_newer_one_is_complete(run):
    truncate(run / "checkpoints" / "60")
    workdir = Workdir.of(run, CONFIG).begin(CONFIG)
    states, progress = workdir.resume(LIKE)
    assert checkpoint_updates(run / "checkpoints") == [60, 40]
    progress.update = 50
    workdir.checkpoints.save(states, progress)
    assert checkpoint_updates(run / "checkpoints") == [60, 50, 40]


def test_deleted_checkpoints_are_noticed(run):
    shutil.rmtree(run / "checkpoints")
    before = snapshot(run)
    with pytest.raises(UserError, match=r"has no checkpoint, but metrics\.jsonl goes to update 60"):
        toy_train(run)
    assert snapshot(run) == before


def test_a_checkpoint_of_another_model_is_refused_and_nothing_is_changed(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 70}\n')
    truncate(run / "checkpoints" / "60")
    (run / "checkpoints" / ".80.tmp-5").mkdir()
    before = snapshot(run)
    workdir = Workdir.of(run, CONFIG).begin(CONFIG)
    with pytest.raises(UserError, match="40: holds another model or optimizer: it has no weights"):
        workdir.resume({"weights": LIKE["params"], "count": LIKE["count"]})
    assert snapshot(run) == before
    assert (run / "checkpoints" / ".80.tmp-5").exists()


def test_a_file_instead_of_the_folder_is_an_error(run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")
    with pytest.raises(
        UserError, match="checkpoints: not a folder of checkpoints: Not a directory"
    ):
        toy_train(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "progress.json: colour is unknown"),
        ({"update": "60"}, "progress.json: update: must be a whole number, not text"),
        ({"update": None}, "progress.json: update: must be a whole number, not null"),
        ({"solved_at": [None]}, "progress.json: lists have different numbers of seeds"),
        ({"times": {}}, "progress.json: times.seconds is missing"),
    ],
)
def test_progress_with_other_keys_is_refused(run, capsys, change, message):
    folder = run / "checkpoints" / "60"
    value = json.loads((folder / "progress.json").read_text())
    value["progress"] |= change
    (folder / "progress.json").write_text(json.dumps(value))
    reseal(folder)
    assert Workdir.existing(run).checkpoints.restore(LIKE)[1].update == 40
    assert message in capsys.readouterr().err


def test_a_reader_beside_a_training_always_finds_a_checkpoint(tmp_path, monkeypatch):
    """While it reads, the training replaces the checkpoint by a newer one, a few times."""
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    progress = TrainingProgress.at_start(2)

    def save():
        progress.update += 20
        workdir.metrics.append({"update": progress.update})
        workdir.checkpoints.save(initial() | {"count": np.int32(progress.update)}, progress)

    save()
    reader, original, busy = Workdir.existing(tmp_path), os.open, []

    def slow_open(*args, **kwargs):
        name = str(args[0])
        if not busy and progress.update < 200 and name.endswith(("state.safetensors", "sums.json")):
            busy.append(True)
            save()
            save()
            busy.clear()
        return original(*args, **kwargs)

    monkeypatch.setattr(os, "open", slow_open)
    states, read = reader.checkpoints.restore(LIKE)
    assert states["count"] == read.update > 100


def test_the_newest_two_are_kept_and_equal_what_was_saved(whole):
    assert checkpoint_updates(whole / "checkpoints") == [60, 40]
    states, progress = Workdir.existing(whole).checkpoints.restore(LIKE)
    assert progress.update == 60
    assert progress.seconds == 3.0
    params = initial()["params"]
    for count in range(6):
        params = params * np.float32(1.1) + np.float32(count)
    assert leaves_equal(states, {"params": params, "count": np.array(6, np.int32)})


def test_names_that_are_no_updates_are_no_checkpoints(run):
    for name in ("060", "٦٠", "0", "-1", "6e1", "9" * 30, ".70.tmp-5", "notes"):
        (run / "checkpoints" / name).mkdir()
    assert checkpoint_updates(run / "checkpoints") == [60, 40]
    toy_train(run)
    assert not (run / "checkpoints" / ".70.tmp-5").exists()
    assert (run / "checkpoints" / "notes").exists()
