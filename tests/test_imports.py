"""Imports go one way, the library is light to import, and no file grows too long to read."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.draw_architecture import PICTURE, imported_names, imports, layers

ROOT = Path(__file__).parents[1]
LIBRARY = "lstm_jax"
EXPERIMENTS = "experiments"
MOST_LINES = 400

LAYERS = layers()
LAYER_OF = {module: layer for layer, modules in enumerate(LAYERS) for module in modules}


def violations(root):
    """The imports under `root` from a layer above, or from the same one."""
    found = []
    for path in sorted((root / LIBRARY).rglob("*.py")):
        where = path.relative_to(root)
        module = where.with_suffix("").parts[1]
        if module != "__init__" and module not in LAYER_OF:
            found.append(f"{where}: {module} is in no layer; add it to docs/architecture.md")
            continue
        for name in imported_names(path, root):
            package, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if package == EXPERIMENTS:
                found.append(f"{where} imports {name}")
            if package == LIBRARY and module not in ("__init__", target):
                # A name that is not a module comes from the root, which is above every layer.
                above = LAYER_OF.get(target, len(LAYERS)) >= LAYER_OF[module]
                found += [f"{where} imports {name}"] if above else []
    return found


def test_imports_go_one_way():
    assert (ROOT / LIBRARY / "unroll.py").exists()
    assert violations(ROOT) == []


def test_the_architecture_page_lists_every_module_and_has_its_picture():
    modules = {
        p.stem for p in (ROOT / LIBRARY).iterdir() if p.stem[0] not in "._" and p.stem != "py"
    }
    assert set(LAYER_OF) == modules
    assert ("unroll", "backends") in imports()
    assert PICTURE.exists()


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("lstm_jax/types.py", "from lstm_jax.initializers import zeros"),
        ("lstm_jax/cells/lstm.py", "from lstm_jax.unroll import unroll"),
        ("lstm_jax/cells/lstm.py", "from lstm_jax import backends"),
        ("lstm_jax/cells/lstm.py", "import lstm_jax.backends.scan"),
        ("lstm_jax/cells/lstm.py", "from ..backends import scan"),
        ("lstm_jax/cells/lstm.py", "def late():\n    from .. import unroll"),
        ("lstm_jax/unroll.py", "from lstm_jax import LSTM"),
        ("lstm_jax/unroll.py", "import lstm_jax"),
        ("lstm_jax/linen.py", "from lstm_jax import nnx"),
        ("lstm_jax/diagnostics.py", "from .convert import to_flax"),
        ("lstm_jax/diagnostics.py", "from experiments.train import train"),
        ("lstm_jax/__init__.py", "import experiments"),
        ("lstm_jax/attic.py", "import jax"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, file, line):
    write(tmp_path, file, line)
    assert len(violations(tmp_path)) == 1
    assert violations(tmp_path)[0].startswith(file)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("lstm_jax/__init__.py", "from lstm_jax.unroll import unroll\nfrom . import nnx"),
        ("lstm_jax/cells/__init__.py", "from lstm_jax.cells.lstm import LSTM\nfrom . import gru"),
        ("lstm_jax/cells/lstm.py", "from lstm_jax import initializers\nimport jax.numpy as jnp"),
        ("lstm_jax/nnx.py", "from flax import nnx\nfrom lstm_jax.types import Cell"),
        ("experiments/train.py", "import lstm_jax\nfrom lstm_jax.nnx import LSTM"),
    ],
)
def test_a_right_import_is_let_through(tmp_path, file, line):
    write(tmp_path, file, line)
    assert violations(tmp_path) == []


def write(root, file, text):
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)


def test_importing_the_library_loads_little_beyond_jax():
    program = """
import sys, jax, jax.numpy
before = set(sys.modules)
import lstm_jax
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    added, loaded = (set(line.split()) for line in done.stdout.splitlines())
    assert loaded.isdisjoint({"flax", "optax", "chex", "orbax", "matplotlib", EXPERIMENTS})
    # NumPy and JAX load some of their own parts late; anything else is a new cost to explain.
    assert added - sys.stdlib_module_names <= {LIBRARY, "jaxtyping", "jax", "numpy"}


def test_no_python_file_is_too_long_to_read():
    files = [
        path
        for path in ROOT.rglob("*.py")
        if not any(part.startswith(".") or part in ("build", "dist") for part in relative(path))
    ]
    assert Path(__file__) in files
    lengths = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {path: n for path, n in lengths.items() if n > MOST_LINES} == {}


def relative(path):
    return path.relative_to(ROOT).parts
