"""What is shipped: the wheel, its metadata, and the files around it."""

import importlib.metadata
import os
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
from docs.draw_architecture import imported_names

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


def requirements(path):
    """The requirements in a file and in those that it includes, without those of pyproject.toml."""
    found = []
    for line in path.read_text().splitlines():
        match line.partition("#")[0].split():
            case ["-r", name]:
                found += requirements(path.parent / name)
            case ["-e", project]:
                assert re.fullmatch(r"\.(\[[a-z,]+\])?", project)
            case [requirement]:
                found.append(requirement)
    return found


def distribution(requirement):
    """The name in a requirement, as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[>=\[]", requirement)[0]).lower()


def built(folder, kind):
    """A wheel built by the build backend itself, without a network."""
    build = f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel_path(tmp_path_factory):
    return built(tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def wheel(wheel_path):
    return zipfile.ZipFile(wheel_path)


def run_with(folder, program, cwd):
    """Run a program with the packages in a folder, and with the dependencies of this Python.

    Without the module site, which would put this repository on the path as well.
    """
    paths = [str(folder), *(p for p in sys.path if p.endswith("site-packages"))]
    return subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )


INSTALLED = """
import importlib.metadata, importlib.util
import jax, jax.numpy as jnp
import lstm_jax as lj
from lstm_jax.convert import cell_of, safetensors, torch

assert lj.__file__.startswith(FOLDER), lj.__file__
params = torch.to_params(torch.load_file(WEIGHTS))
final, hs = jax.jit(lambda p: lj.unroll(cell_of(p), p, jnp.ones((4, 3))))(params)
assert hs.shape[0] == 4 and bool(jnp.isfinite(hs).all())
safetensors.save("saved.safetensors", params)
loaded = safetensors.load("saved.safetensors")
assert jax.tree.all(jax.tree.map(jnp.array_equal, params, loaded))
assert importlib.util.find_spec("experiments") is None
print(*sorted(importlib.metadata.metadata("lstm_jax").get_all("Provides-Extra")))
"""


def test_the_wheel_works_in_an_empty_folder(wheel_path, tmp_path):
    folder, here = tmp_path / "installed", tmp_path / "here"
    here.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-compile", "--target", folder, wheel_path],
        check=True,
        capture_output=True,
    )
    weights = str(ROOT / "tests" / "golden" / "lstm.pt")
    program = INSTALLED.replace("FOLDER", repr(str(folder))).replace("WEIGHTS", repr(weights))
    done = run_with(folder, program, here)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"convert", "export", "haiku", "onnx", "cuda12", "cuda13"}


def test_what_the_wheel_offers_is_used_in_it_or_in_jax(wheel):
    """An extra installs what a module of the wheel imports; CUDA and flatbuffers are for JAX."""
    code = "".join(wheel.read(n).decode() for n in wheel.namelist() if n.endswith(".py"))
    imported = {"convert": "safetensors", "onnx": "onnx", "haiku": "haiku"}
    for name in imported.values():
        assert re.search(rf"^\s*import {name}\b|\"{name}[\".]", code, re.MULTILINE), name
    for_jax = {"cuda12", "cuda13", "export"}
    assert {*PROJECT["optional-dependencies"]} == {*imported, *for_jax}


def test_the_pages_promise_the_experiments_to_clones_alone():
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    assert "The experiments run from a clone" in readme
    offered = "|".join(PROJECT["optional-dependencies"])
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for extras in re.findall(r"(?:lstm_jax|'\.|^-e \.)\[([\w,]+)\]", page.read_text()):
            assert re.fullmatch(rf"(?:(?:{offered}),?)+", extras), f"{page.name}: [{extras}]"


def test_an_editable_install_runs_the_experiments_from_any_folder(tmp_path):
    folder = tmp_path / "installed"
    zipfile.ZipFile(built(tmp_path, "editable")).extractall(folder)
    program = f"""
import runpy, site, sys
site.addsitedir({str(folder)!r})  # as Python does for the folder of an environment
sys.argv = ["experiments", "list"]
runpy.run_module("experiments", run_name="__main__")
"""
    done = run_with(folder, program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "configs" / "demo.yaml") in done.stdout


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
    assert extras == {"convert", "export", "haiku", "onnx", "cuda12", "cuda13"}
    for cuda in ("cuda12", "cuda13"):
        assert re.search(rf"Requires-Dist: jax\[{cuda}\]; extra == '{cuda}'", metadata)


def test_dependencies_have_floors_and_no_caps():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in [r for group in groups for r in group] + [
        r for path in REQUIREMENTS for r in requirements(path)
    ]:
        assert not re.search(r"<|==|~=", requirement), requirement
        assert requirement.startswith("jax[") or ">=" in requirement, requirement


def test_the_development_environment_has_everything_and_is_pinned_for_the_tests():
    dev = ROOT / "requirements" / "dev.txt"
    (extras,) = re.findall(r"^-e \.\[(.*)\]$", dev.read_text(), re.MULTILINE)
    assert {*extras.split(",")} == {*PROJECT["optional-dependencies"]} - {"cuda12", "cuda13"}
    direct = [*requirements(dev), *PROJECT["dependencies"]]
    for extra in extras.split(","):
        direct += PROJECT["optional-dependencies"][extra]
    names = {distribution(requirement) for requirement in direct}
    # Jupyter only opens the notebooks; the tests run them without it.
    others = {distribution(r) for path in REQUIREMENTS for r in requirements(path)}
    assert others - names == {"jupyterlab"}
    for path in (ROOT / "constraints").glob("py*.txt"):
        pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE))
        assert names <= {distribution(name) for name in pinned}, path.name
        assert not re.search(r"https?:|file:|@", path.read_text())


def test_the_demo_installs_neither_statsmodels_nor_a_language_server():
    names = {distribution(r) for r in requirements(ROOT / "requirements" / "demo.txt")}
    assert {"matplotlib", "pydantic", "hatchling"} <= names
    assert names.isdisjoint({"statsmodels", "scikit-learn", "basedpyright", "pytest", "jupyterlab"})


def test_the_experiments_import_what_their_requirements_name():
    """Beside the library's own dependencies; peers of the benchmarks are there or are left out."""
    top_level = importlib.metadata.packages_distributions()
    declared = {distribution(r) for path in REQUIREMENTS for r in requirements(path)}
    declared |= {distribution(r) for r in PROJECT["dependencies"]} | {
        "numpy",
        "ml-dtypes",
    }  # of JAX
    for path in (ROOT / "experiments").rglob("*.py"):
        if "bench" in path.parts:
            continue
        names = {name.partition(".")[0] for name in imported_names(path, ROOT)}
        for name in names - sys.stdlib_module_names - {"lstm_jax", "experiments"}:
            assert declared & {distribution(d) for d in top_level[name]}, f"{path}: {name}"


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

    def planned(target="test"):
        command = ["make", "-n", target, f"VENV={venv}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "requirements/dev.txt" in planned()
    assert "requirements/demo.txt" in planned("demo")
    assert "requirements/demo.txt" in planned("native")
    (venv / ".demo").touch()
    for target in ("demo", "native"):
        assert "requirements" not in planned(target)
    assert "./native" not in planned("demo")  # compiling it takes longer than the demo without it
    assert "requirements/dev.txt" in planned()
    (venv / ".ready").touch()
    (venv / ".demo").unlink()
    for target in ("demo", "native", "test"):
        assert "requirements" not in planned(target)
    assert "./native" in planned()
    (venv / ".native").touch()
    assert "pip install" not in planned()
    assert "pytest" in planned()


def test_make_installs_again_when_a_list_of_requirements_changed(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    for stamp in (".demo", ".ready"):
        (venv / stamp).touch()
        for path in (*REQUIREMENTS, ROOT / "pyproject.toml"):
            command = [
                "make",
                "-n",
                f"{venv}/{stamp}",
                "-W",
                path.relative_to(ROOT),
                f"VENV={venv}",
            ]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            assert "pip install" in done.stdout, path


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], ["no C++ compiler was found: the pure-JAX path is used"]),
        (
            ["c++"],
            [
                "compiling the native backend (about a minute, once)",
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
