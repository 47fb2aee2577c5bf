"""Compiles the native backend, once for each instruction set, into one library in the wheel."""

import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
LIBRARY = "liblstm_jax.so"
FLAGS = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-pthread"]
# GCC's own headers for AVX-512 begin with undefined registers, on purpose.
WARNINGS = ["-Wall", "-Wextra", "-Wno-uninitialized"]

# Name, bytes in a vector, and flags of the compiler.
X86 = [
    ("baseline", 16, []),
    ("avx2", 32, ["-mavx2", "-mfma"]),
    (
        "avx512",
        64,
        ["-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"],
    ),
]
OTHERS = [("baseline", 16, [])]


def build(folder: Path, extra: tuple[str, ...] = ()) -> Path:
    """Compile the library.

    Args:
      folder: where to put it.
      extra: further flags of the compiler, such as those of a sanitizer.

    Returns:
      Its path.

    Raises:
      RuntimeError: when there is no compiler, no jaxlib, or the compiler fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise RuntimeError("a compiler for C++17 is needed: g++ or clang++, or set CXX")
    jaxlib = find_spec("jaxlib")
    if jaxlib is None or jaxlib.origin is None:
        raise RuntimeError("jaxlib is needed, for its headers")
    include = Path(jaxlib.origin).parent / "include"
    sets = X86 if platform.machine().lower() in ("x86_64", "amd64") else OTHERS
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:

        def compile_one(source: str, name: str, options: list[str]) -> Path:
            target = Path(scratch) / f"{name}.o"
            flags = [*FLAGS, *WARNINGS, f"-isystem{include}", *options, *extra]
            run([*compiler, *flags, "-c", str(HERE / "cpp" / source), "-o", str(target)])
            return target

        # Where several objects share a function, the linker keeps the first: that of these files or
        # of the baseline, which every machine can run.
        shared = ("select_isa", "jax_calls")
        jobs = [pool.submit(compile_one, f"{name}.cc", name, []) for name in shared]
        jobs += [
            pool.submit(compile_one, "isa_functions.cc", name, isa_flags(name, width, flags))
            for name, width, flags in sets
        ]
        objects = [str(job.result()) for job in jobs]
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / LIBRARY
        run([*compiler, "-shared", "-pthread", *extra, *objects, "-o", str(library)])
    return library


def isa_flags(name: str, width: int, flags: list[str]) -> list[str]:
    """Flags that compile ``isa_functions.cc`` for one instruction set."""
    return [f"-DLSTM_ISA={name}", f"-DLSTM_BYTES={width}", *flags]


def find_compiler() -> list[str] | None:
    """The command of a C++ compiler, or None."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def run(command: list[str]) -> None:
    """Run a command; its output is part of the error if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{shlex.join(command)}\n{error}") from error
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")


class BuildLibrary(BuildHookInterface):
    """Puts the library into the wheel, which then is for this kind of machine only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile it."""
        library = build(Path(self.directory) / "library")
        build_data["force_include"][str(library)] = f"lstm_jax_native/{LIBRARY}"
        build_data["pure_python"] = False
        # The library does not use Python's C API, so the wheel is for any version of Python.
        machine = os.environ.get("_PYTHON_HOST_PLATFORM") or _platform_tag()
        build_data["tag"] = f"py3-none-{machine}"


def _platform_tag() -> str:
    import sysconfig

    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
