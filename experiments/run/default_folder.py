"""The folder of a run that is not told one."""

import os
from collections.abc import Mapping
from pathlib import Path

ARRAY_INDICES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "SGE_TASK_ID", "LSB_JOBINDEX")
"""Environment variables in which schedulers give the jobs of an array their numbers."""


def default_workdir(config: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The workdir of a config: runs/ and its name, with the number of a job of an array.

    The number is the same when the job is started again, which then resumes.

    >>> default_workdir(Path("configs/adding.yaml"), {}).as_posix()
    'runs/adding'
    >>> default_workdir(Path("configs/adding.yaml"), {"SLURM_ARRAY_TASK_ID": "7"}).as_posix()
    'runs/adding-7'
    """
    numbers = [environ.get(name, "") for name in ARRAY_INDICES]
    # Outside of an array, LSF has the number 0 and Grid Engine the word "undefined".
    number = next((n for n in numbers if n.isascii() and n.isdecimal()), "")
    lsf_alone = number == "0" and environ.get("LSB_JOBINDEX") == "0"
    return Path("runs") / (f"{config.stem}-{number}" if number and not lsf_alone else config.stem)
