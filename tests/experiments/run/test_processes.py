"""Several processes save and restore together: what any number wrote, any number reads."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.run.checkpoint_folder import checkpoint_updates
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG, toy_train

ROOT = Path(__file__).parents[3]

PROGRAM = """
import os, sys
import jax
port, process, path, what = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
from pathlib import Path
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from experiments.errors import TrainingFailed, UserError
from experiments.run.checkpoints import TrainingProgress
from experiments.run.workdir import Workdir
from tests.helpers.toy_runs import CONFIG

mesh = Mesh(np.array(jax.devices()), ("data",))
assert len(jax.devices()) == 4
def placed(array, *spec):
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
params = np.arange(48, dtype=np.float32).reshape(8, 6)
like = {"params": placed(np.zeros_like(params), "data"), "count": placed(np.array(0))}
try:
    workdir = Workdir.of(Path(path), CONFIG)
    with workdir.locked():
        workdir.begin(CONFIG)
        found = workdir.resume(like)
        if what == "restore":
            states, progress = found
            for shard in states["params"].addressable_shards:
                np.testing.assert_array_equal(shard.data, params[shard.index])
            assert int(states["count"]) == 3, states["count"]
            print("restored", progress.update)
            sys.exit()
        assert found is None
        progress = TrainingProgress.at_start(2)
        states = {"params": placed(params, "data"), "count": placed(np.array(3))}
        for progress.update in (10, 20, 30):
            if process == 0:
                workdir.metrics.append({"update": progress.update})
            if what == "fail" and progress.update == 30 and process == 1:
                real = os.open
                def failing(path, *args, **kwargs):
                    if "state-00001" in str(path):
                        raise OSError(28, "No space left on device")
                    return real(path, *args, **kwargs)
                os.open = failing
            workdir.checkpoints.save(states, progress)
        print("saved")
except (TrainingFailed, UserError) as error:
    print(type(error).__name__, error)
"""


def two_processes(path, what):
    """Run the program in two processes, with two devices each, and return what they print."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = "--xla_force_host_platform_device_count=2"
    environ = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-c", PROGRAM, str(port), str(i), str(path), what] for i in (0, 1)]
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        ended = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert all(out for out, _ in ended), ended
    # Gloo prints its connections.
    lines = [[line for line in out.splitlines() if "[Gloo]" not in line] for out, _ in ended]
    return ["\n".join(each) for each in lines]


PARAMS = np.arange(48, dtype=np.float32).reshape(8, 6)
LIKE = {"params": np.zeros((8, 6), np.float32), "count": np.array(0, np.int32)}


@pytest.mark.slow
def test_one_process_reads_what_two_wrote_and_the_other_way_round(tmp_path):
    assert two_processes(tmp_path, "save") == ["saved", "saved"]
    folder = tmp_path / "checkpoints" / "30"
    assert sorted(os.listdir(folder)) == [
        "checksums.json", "config.yaml", "progress.json",
        "state-00000-of-00002.safetensors", "state-00001-of-00002.safetensors",
    ]  # fmt: skip
    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    states, progress = workdir.resume(LIKE)
    np.testing.assert_array_equal(states["params"], PARAMS)
    assert (progress.update, states["count"]) == (30, 3)
    assert two_processes(tmp_path, "restore") == ["restored 30"] * 2
    # Now one process writes, over the files of two.
    workdir.metrics.append({"update": 40})
    progress.update = 40
    workdir.checkpoints.save({"params": PARAMS, "count": np.array(3, np.int32)}, progress)
    assert two_processes(tmp_path, "restore") == ["restored 40"] * 2


@pytest.mark.slow
def test_a_process_that_cannot_write_its_part_ends_all_and_no_checkpoint_is_made(tmp_path):
    first, second = two_processes(tmp_path, "fail")
    assert first == "TrainingFailed process 1 of this run failed; it says why"
    assert second.startswith(f"WriteFailed {tmp_path}/checkpoints: cannot be written: No space")
    assert checkpoint_updates(tmp_path / "checkpoints") == [20, 10]
    assert two_processes(tmp_path, "restore") == ["restored 20"] * 2


@pytest.mark.slow
def test_a_folder_in_use_is_refused_in_all_processes(tmp_path):
    toy_train(tmp_path)
    with Workdir(tmp_path).locked():
        first, second = two_processes(tmp_path, "restore")
    assert first.startswith(f"UserError {tmp_path}: another process is training there")
    assert second == "TrainingFailed process 0 of this run failed; it says why"
