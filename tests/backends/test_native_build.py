"""The native backend from source: compiled, under sanitizers, and without a compiler."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"


def loaded(path):
    """A module by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_library = loaded(NATIVE / "build_library.py")

compiles = pytest.mark.skipif(
    build_library.find_compiler() is None, reason="there is no C++ compiler"
)


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_error_names_one(tmp_path):
    assert build_library.find_compiler() is None
    with pytest.raises(RuntimeError, match=r"a compiler for C\+\+17 is needed: g\+\+ or clang\+\+"):
        build_library.build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_compiler_is_the_one_asked_for_with_its_flags(monkeypatch):
    monkeypatch.setenv("CXX", "ccache 'my g++' -m64")
    assert build_library.find_compiler() == ["ccache", "my g++", "-m64"]


def test_without_jaxlib_the_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "anything")
    monkeypatch.setattr(build_library, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="jaxlib is needed, for its headers"):
        build_library.build(tmp_path)


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("sh -c 'echo no such flag; exit 1'", "no such flag"), ("/no/c++", "/no/c")],
)
def test_the_output_of_a_compiler_that_fails_is_in_the_error(monkeypatch, tmp_path, compiler, said):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(RuntimeError, match=said):
        build_library.build(tmp_path)
    assert not list(tmp_path.iterdir())


def make_native(tmp_path, tools, **variables):
    """Run `make native` for an environment that is ready, with few tools on the path."""
    bin_, environment = tmp_path / "tools", tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    bin_.mkdir()
    python = environment / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "asked"}\n')
    python.chmod(0o755)
    for tool in ("sh", "touch"):
        (bin_ / tool).symlink_to(shutil.which(tool))
    for tool in tools:
        (bin_ / tool).write_text("#!/bin/sh\n")
        (bin_ / tool).chmod(0o755)
    (environment / ".ready").touch()
    done = subprocess.run(
        [shutil.which("make"), "native", f"VENV={environment}"],
        cwd=ROOT,
        env={"PATH": str(bin_), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    asked = tmp_path / "asked"
    return done, asked.read_text() if asked.exists() else ""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_without_a_compiler_succeeds(tmp_path):
    done, asked = make_native(tmp_path, [])
    assert done.returncode == 0, done.stderr
    assert "no C++ compiler was found: the pure-JAX path is used" in done.stdout
    assert not asked


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("tools", "variables"),
    [(["c++"], {}), (["g++"], {}), (["clang++"], {}), (["mine"], {"CXX": "mine -m64"})],
)
def test_make_with_a_compiler_installs_the_native_backend(tmp_path, tools, variables):
    done, asked = make_native(tmp_path, tools, **variables)
    assert done.returncode == 0, done.stderr
    assert "compiling the native backend" in done.stdout
    assert asked.split()[:3] == ["-m", "pip", "install"]
    assert asked.split()[-1] == "./native"


def sets():
    """Instruction sets that are compiled on this kind of machine, with their flags."""
    x86 = os.uname().machine.lower() in ("x86_64", "amd64")
    return build_library.X86 if x86 else build_library.OTHERS


def fuzz(folder, sanitizer):
    """The program that tests random problems, compiled like the library, with a sanitizer."""
    compiler = build_library.find_compiler()
    # Of contradictory flags the last one counts.
    flags = [*build_library.FLAGS, "-Og", "-g1", sanitizer, "-fno-sanitize-recover=all"]
    jobs = {"fuzz": ("tests/fuzz.cc", ["-O1"]), "select_isa": ("cpp/select_isa.cc", [])}
    for name, width, options in sets():
        jobs[name] = ("cpp/isa_functions.cc", build_library.isa_flags(name, width, options))

    def compile_one(name):
        source, options = jobs[name]
        target = str(folder / f"{name}.o")
        build_library.run([*compiler, *flags, *options, "-c", str(NATIVE / source), "-o", target])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, reversed(jobs)))
    program = folder / "fuzz"
    build_library.run([*compiler, "-pthread", sanitizer, *objects, "-o", str(program)])
    return program


def solves(program, name, problems, seed):
    """Run it for an instruction set; false if this machine does not support it."""
    done = subprocess.run(
        [program, str(problems), str(seed)],
        env={"LSTM_JAX_ISA": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if not done.stdout.startswith(f"{name}: "):
        return False
    assert f"{problems} problems, 0 wrong" in done.stdout
    return True


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    return fuzz(tmp_path_factory.mktemp("sanitized"), "-fsanitize=address,undefined")


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, *_ in sets()])
def test_random_problems_under_sanitizers(sanitized, name):
    if not solves(sanitized, name, 400, 1):
        pytest.skip(f"this machine does not support {name}")


@compiles
@pytest.mark.slow
def test_threads_do_not_race(tmp_path):
    program = fuzz(tmp_path, "-fsanitize=thread")
    name = sets()[0][0]
    assert solves(program, name, 90, 2)


@compiles
@pytest.mark.slow
def test_the_library_can_be_loaded(tmp_path):
    path = build_library.build(tmp_path / "folder", ("-O0",))
    assert path == tmp_path / "folder" / build_library.LIBRARY
    library = ctypes.CDLL(str(path))
    for symbol in ("lstm_jax_forward", "lstm_jax_backward", "lstm_jax_instruction_set"):
        assert getattr(library, symbol)
    library.lstm_jax_instruction_set.restype = ctypes.c_char_p
    assert library.lstm_jax_instruction_set().decode() in [name for name, *_ in sets()]
    with pytest.raises(AttributeError):
        assert library.forward  # hidden, as all other symbols are
