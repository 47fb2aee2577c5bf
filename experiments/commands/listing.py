"""The list of the configs, with their headers."""

from collections.abc import Sequence
from pathlib import Path

from experiments.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
FOLDERS = (CONFIGS, CONFIGS / "hs1997")
"""The folders of the configs that come with this project."""


def list_command(words: list[str]) -> int:
    """``list [FOLDER ...]``."""
    return list_configs([Path(folder) for folder in words])


def list_configs(folders: Sequence[Path]) -> int:
    """Print the name and header of every config file in the folders, or in `FOLDERS`."""
    for folder in folders or FOLDERS:
        if not folder.is_dir():
            raise UserError(f"{folder}: not a folder")
        paths = sorted(folder.glob("*.yaml"))
        if not paths:
            raise UserError(f"{folder}: has no configs (*.yaml)")
        for path in paths:
            print(relative(path))
            for line in header(path):
                print(f"    {line}".rstrip())
            print()
    return 0


def header(path: Path) -> list[str]:
    """The comment at the start of a config file, as lines."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return lines


def relative(path: Path) -> Path:
    """The path relative to the current folder, if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
