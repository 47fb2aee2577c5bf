"""Which processes join, by flags or by a launcher."""

import pytest

from experiments.devices import distributed
from experiments.devices.distributed import Processes, take_processes
from experiments.errors import UserError

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_PROCID": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for names in distributed.LAUNCHERS.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


def test_one_process_alone_is_the_default():
    flags = {"model.hidden_size": 8}
    assert take_processes(flags) is None
    assert flags == {"model.hidden_size": 8}


def test_flags_name_the_processes_and_leave_the_fields():
    flags = {
        "coordinator": "[::1]:4321", "processes": 4, "process_id": 3, "heartbeat_seconds": 20,
        "seed": 1,
    }  # fmt: skip
    assert take_processes(flags) == Processes("[::1]:4321", 4, 3, 20)
    assert flags == {"seed": 1}


def test_one_of_one_process_is_alone():
    assert take_processes({"coordinator": "a:1", "processes": 1, "process_id": 0}) is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (SLURM | {"SLURM_NTASKS": "4"}, Processes()),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "2"}, Processes()),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        # Inside of an allocation, but not started by srun.
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),
    ],
)
def test_a_launcher_of_several_processes_is_found(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert take_processes({}) == expected
    assert take_processes({"distributed": "none"}) is None
    named = {"coordinator": "a:1", "processes": 2, "process_id": 0}
    assert take_processes(named) == Processes("a:1", 2, 0)


def test_auto_joins_where_no_launcher_is_found():
    assert take_processes({"distributed": "auto", "heartbeat_seconds": 30}) == Processes(
        heartbeat_seconds=30
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"distributed": "slurm"}, "--distributed: must be auto or none; got slurm"),
        ({"coordinator": "a:1"}, "--processes: is missing beside --coordinator"),
        ({"process_id": 1, "processes": 2}, "--coordinator: is missing beside --processes"),
        ({"coordinator": "a", "processes": 2, "process_id": 0}, "--coordinator: must be host:port"),
        ({"coordinator": "a:x", "processes": 2, "process_id": 0}, "must be host:port of process 0"),
        ({"coordinator": "a:0", "processes": 2, "process_id": 0}, "must be host:port of process 0"),
        ({"coordinator": "a:99999", "processes": 2, "process_id": 0}, "must be host:port"),
        ({"coordinator": "a:1", "processes": "2", "process_id": 0}, "--processes: must be a whole"),
        ({"coordinator": "a:1", "processes": 0, "process_id": 0}, "--processes: must be a whole"),
        (
            {"coordinator": "a:1", "processes": 2, "process_id": 2},
            "--process_id: must be from 0 to",
        ),
        ({"coordinator": "a:1", "processes": 2, "process_id": True}, "--process_id: must be from"),
        ({"coordinator": "a:1", "distributed": "none"}, "--coordinator: excludes --distributed"),
        ({"heartbeat_seconds": 1}, "--heartbeat_seconds: must be a whole number from 10; got 1"),
    ],
)
def test_flags_that_do_not_fit_together(flags, message):
    with pytest.raises(UserError, match=message):
        take_processes(flags)
