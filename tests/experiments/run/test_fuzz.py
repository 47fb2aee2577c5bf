"""Thousands of damaged files: a clean error or the right numbers, and no file harmed."""

import json
import random
import shutil

import pytest

from experiments.config.file import dump_config
from experiments.errors import UserError
from experiments.run.checkpoint_folder import DamagedError, open_checkpoint
from experiments.run.compare import run_differences
from experiments.run.environment import current_environment
from experiments.run.state_files import restored
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, LIKE, reseal, snapshot, toy_train
from tests.helpers.toys import slow_case

CHECKPOINT = ["progress.json", "checksums.json", "state.safetensors", "config.yaml"]
FILES = ["metrics.jsonl", "summary.json", "config.yaml"] + [
    f"checkpoints/{update}/{name}" for update in (40, 60) for name in CHECKPOINT
]
PIECES = [
    b"", b"{}", b"[]", b"null", b"5", b"-1", b"1e999", b"NaN", b"\xff\xfe", b"\x00", b'"', b"\n",
    b"[" * 5000, b"9" * 5000, b"true", b'{"update": 50}\n', b": x\n", b"\xed\xa0\x80",
]  # fmt: skip


def mutated(data, draw):
    """The content of a file after some accident."""
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        at = draw.randrange(len(data) + 1)
        to = min(len(data), at + draw.choice([0, 1, 1, 3, 20, 1000]))
        piece = draw.choice([draw.choice(PIECES), bytes([draw.randrange(256)]), data[at:to] * 2])
        data = draw.choice([data[:at] + piece + data[to:], data[:at], data[at:] + data[:at]])
    return data


@pytest.mark.parametrize("seed", [0, *(slow_case(seed) for seed in range(1, 30))])
def test_damaged_files_are_a_clean_error_or_do_no_harm(whole, tmp_path, seed, capsys):
    draw = random.Random(seed)
    for number in range(40 if seed == 0 else 100):
        path = tmp_path / f"{number}"
        shutil.copytree(whole, path)
        (path / ".lock").unlink()
        if draw.random() < 0.8:
            (path / "summary.json").unlink()
        names = [name for name in FILES if (path / name).exists()]
        for name in draw.sample(names, draw.choice([1, 1, 1, 2, 3])):
            file = path / name
            if draw.random() < 0.1:
                file.unlink()
            else:
                file.write_bytes(mutated(file.read_bytes(), draw))
        before = snapshot(path)
        try:
            toy_train(path)
        except UserError:
            after = snapshot(path)
            if "config.yaml" not in before and "config.yaml" in after:
                # It was deleted, and the checkpoints have it.
                assert after.pop("config.yaml").decode() == dump_config(CONFIG)
            assert after == before
        else:
            if (path / "summary.json").exists() and "summary.json" in before:
                continue  # the finished run was shown, and nothing else was looked at
            assert run_differences(whole, path) == [], (seed, number)
            kept = [n for n in before if n.startswith("metrics.jsonl")]
            assert all(snapshot(path)[n] for n in kept)
        assert len(capsys.readouterr().err) < 3000


@pytest.mark.parametrize("seed", [0, *(slow_case(seed) for seed in range(1, 10))])
def test_damaged_environments_are_kept_and_in_nobodys_way(tmp_path, monkeypatch, seed):
    draw, here = random.Random(seed), current_environment(["scan"])
    monkeypatch.setattr("experiments.run.workdir.current_environment", lambda *_: here)
    workdir = Workdir(tmp_path)
    file = tmp_path / "environment.json"
    whole = json.dumps(here | {"resumed_in": [here | {"threads": 99}]}, indent=2).encode()
    for _ in range(100):
        file.write_bytes(damaged := mutated(whole, draw))
        workdir.write_environment(["scan"])
        assert workdir.environment()["python"]
        kept = list(tmp_path.glob("environment.json.damaged-*"))
        if kept:
            assert kept[0].read_bytes() == damaged
            assert workdir.environment() == here
            kept[0].unlink()


@pytest.mark.parametrize("seed", [0, *(slow_case(seed) for seed in range(1, 10))])
def test_checkpoints_made_by_hand_are_clean_errors(whole, tmp_path, seed):
    """The checksums are right, the content is nonsense."""
    draw, results = random.Random(seed), []
    folder = tmp_path / "60"
    for _ in range(60):
        shutil.copytree(whole / "checkpoints" / "60", folder)
        file = folder / draw.choice(["progress.json", "state.safetensors"])
        file.write_bytes(mutated(file.read_bytes(), draw))
        reseal(folder)
        try:
            saved = open_checkpoint(folder)
            restored(LIKE, saved.leaves, "here")
        except (DamagedError, UserError) as error:
            results.append(str(error))
        shutil.rmtree(folder)
    assert len(results) > 30
    assert max(map(len, results)) < 1000


def test_a_header_that_lies_is_a_clean_error(whole, tmp_path):
    """Sizes, offsets and names of the tensors, each replaced by nonsense."""
    nonsense = [-1, 2**70, 1.5, "x", None, [], {}, [3], [0, 10**9], [5, 0], [-1, 4], ["a"], True]
    for key in ("dtype", "shape", "data_offsets"):
        for value in nonsense:
            folder = tmp_path / "60"
            shutil.copytree(whole / "checkpoints" / "60", folder)
            data = (folder / "state.safetensors").read_bytes()
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            header["params"][key] = value
            text = json.dumps(header).encode()
            content = len(text).to_bytes(8, "little") + text + data[8 + length :]
            (folder / "state.safetensors").write_bytes(content)
            reseal(folder)
            with pytest.raises((DamagedError, UserError)):
                restored(LIKE, open_checkpoint(folder).leaves, "here")
            shutil.rmtree(folder)
