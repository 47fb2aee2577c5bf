import os
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 180

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def outputs(notebook):
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


def images(notebook):
    return sum("image/png" in o.get("data", {}) for o in outputs(notebook))


def complaints(notebook):
    """Errors, and whatever was written to stderr."""
    return [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]


def kernel_environment(folder):
    """The environment of a person at a notebook, without the settings of this test session."""
    environment = dict(os.environ)
    environment.pop("MPLBACKEND", None)
    environment["XLA_FLAGS"] = environment.pop("XLA_FLAGS_GIVEN")
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), environment.get("PYTHONPATH")])
    )
    environment["IPYTHONDIR"] = str(folder / "ipython")  # nobody's profile
    return environment


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"01_quickstart", "02_inside_the_cell"}


@each_notebook
def test_outputs_are_committed(path):
    notebook = read(path)
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))  # run once, from the top
    assert complaints(notebook) == []
    assert images(notebook) >= 1
    assert str(Path.home()) not in path.read_text(encoding="utf-8")


@pytest.mark.slow
@each_notebook
def test_runs_from_the_top(path, tmp_path):
    notebook = read(path)
    shown = images(notebook)
    # Without kernel folders to search, python3 is the interpreter that runs the tests.
    kernel = KernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        connection_file=str(tmp_path / "kernel.json"),
    )
    client = NotebookClient(
        notebook, km=kernel, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    )
    start = time.monotonic()
    client.execute(cleanup_kc=True, env=kernel_environment(tmp_path))
    assert time.monotonic() - start < SECONDS
    assert complaints(notebook) == []
    assert images(notebook) == shown
