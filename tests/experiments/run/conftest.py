"""Quick disks: these tests end no machine, so that there is no need to wait for its disk."""

import functools
import os

import pytest

from experiments.config.file import dump_config


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    # Half of the time of the toy runs would be PyYAML's.
    monkeypatch.setattr("experiments.run.workdir.dump_config", functools.cache(dump_config))
