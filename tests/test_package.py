"""What is shipped: the wheel, its metadata, and the files around it."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import lstm_jax

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built by the build backend itself, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"import hatchling.build as b; print(b.build_wheel({str(folder)!r}))"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return zipfile.ZipFile(folder / result.stdout.split()[-1])


def test_the_wheel_contains_the_library_alone_and_its_types(wheel):
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"lstm_jax", f"lstm_jax-{lstm_jax.__version__}.dist-info"}
    assert "lstm_jax/py.typed" in names
    assert "lstm_jax/cells/lstm.py" in names
    assert any(name.endswith("LICENSE") for name in names)


def test_the_metadata_names_licence_python_and_extras(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith("METADATA")]
    metadata = wheel.read(name).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    extras = set(re.findall(r"Provides-Extra: (\S+)", metadata))
    using = {"convert", "examples", "experiments", "export", "haiku", "notebooks", "onnx"}
    assert extras == {*using, "dev", "cuda12", "cuda13"}
    for cuda in ("cuda12", "cuda13"):
        assert re.search(rf"Requires-Dist: jax\[{cuda}\]; extra == '{cuda}'", metadata)


def test_dependencies_have_floors_and_no_caps():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (r for group in groups for r in group):
        assert not re.search(r"<|==|~=", requirement), requirement
        internal = requirement.startswith(("lstm_jax[", "jax["))
        assert internal or ">=" in requirement, requirement


def test_every_direct_dependency_is_pinned_for_the_tests():
    for path in (ROOT / "constraints").glob("py*.txt"):
        pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text().lower(), re.MULTILINE))
        direct = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
        for requirement in direct:
            name = re.split(r"[>\[]", requirement.lower())[0]
            assert name == "lstm_jax" or name in pinned, f"{path.name} does not pin {name}"
        assert not re.search(r"https?:|file:|@", path.read_text())


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == lstm_jax.__version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_gate_runs_the_readmes_test_command():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [
        command
        for line in lines
        if not line.strip().startswith(("#", "echo"))
        for command in re.findall(r"make [\w-]+", line)
    ]
    assert commands == ["make test", "make test-slow"]
    assert "make test" in (ROOT / "README.md").read_text()


def test_make_sets_up_once(tmp_path):
    """With stamps newer than what they depend on, nothing is installed or compiled again."""
    venv = tmp_path / "venv"
    venv.mkdir()

    def planned():
        command = ["make", "-n", "test", f"VENV={venv}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert ".[dev]" in planned()
    (venv / ".ready").touch()
    assert ".[dev]" not in planned()
    assert "./native" in planned()
    (venv / ".native").touch()
    assert "pip install" not in planned()
    assert "pytest" in planned()


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], ["no C++ compiler was found: the pure-JAX path is used"]),
        (
            ["c++"],
            [
                "compiling the native backend",
                "it did not compile, for the reason above: the pure-JAX path is used",
            ],
        ),
    ],
    ids=["no compiler", "a broken one"],
)
def test_make_continues_without_the_native_backend(tmp_path, there, said):
    """It says so in one line, and all else is set up; what failed is tried again next time."""
    venv, programs = tmp_path / "venv", tmp_path / "bin"
    for folder in (venv / "bin", programs):
        folder.mkdir(parents=True)
    (venv / ".ready").touch()
    (programs / "touch").symlink_to(shutil.which("touch"))
    for broken in (*(programs / name for name in there), venv / "bin" / "python"):
        broken.symlink_to(shutil.which("false"))
    command = [shutil.which("make"), "native", f"VENV={venv}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={"PATH": str(programs)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
    assert (venv / ".native").exists() is (not there)
