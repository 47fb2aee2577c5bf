"""Memory that does not suffice is one line."""

import jax
import pytest

from experiments.errors import TrainingFailed
from experiments.run.workdir import Workdir
from experiments.training import training_loop
from experiments.training.memory import memory_errors
from experiments.training.training_loop import train_run
from tests.helpers.small_config import small_config

CONFIG = small_config({"train.batch_size": 77})
DEVICE = "RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes.\nBufferAssignment: ..."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (jax.errors.JaxRuntimeError(DEVICE), "Out of memory allocating 4096 bytes"),
        (
            jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 1 byte."),
            "out of memory (allocating 1 byte); all",
        ),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room"), "out of memory (no room)"),
        (MemoryError("Unable to allocate 8.00 TiB"), "Unable to allocate 8.00 TiB"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_to_lower_is_in_one_line(error, reason):
    with pytest.raises(TrainingFailed) as caught, memory_errors(CONFIG, "all is well"):
        raise error
    message = str(caught.value)
    assert "\n" not in message
    for part in (reason, "all is well", "train.batch_size (now 77)", "hidden_size", "remat"):
        assert part in message


def test_other_errors_of_the_device_pass():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory_errors(CONFIG, ""):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_a_run_without_memory_leaves_its_folder_free(tmp_path, monkeypatch):
    def make(*arguments, **options):
        raise jax.errors.JaxRuntimeError(DEVICE)

    monkeypatch.setattr(training_loop, "make_train_functions", make)
    with pytest.raises(TrainingFailed, match="out of memory"):
        train_run(CONFIG, tmp_path, "")
    assert Workdir.of(tmp_path, small_config())
