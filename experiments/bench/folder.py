"""The folders of results, pages and pictures."""

import os
from pathlib import Path

from experiments.bench.pages import page
from experiments.bench.results import Result
from experiments.bench.suites import NAMES
from experiments.bench.worker_process import ROOT
from experiments.commands.listing import relative
from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic

PAGES = ROOT / "docs" / "benchmarks"
PICTURES = ROOT / "docs" / "images"


class Folder:
    """One folder for all files, or the two folders of the documentation.

    Args:
      path: the folder, or None for the folders of the documentation.
    """

    def __init__(self, path: Path | None) -> None:
        self._pages, self._pictures = (PAGES, PICTURES) if path is None else (path, path)

    def make(self) -> None:
        """Create the folders; called before the measurements, which take long.

        Raises:
          UserError: if a folder cannot be written.
        """
        for path in (self._pages, self._pictures):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{path}: cannot be written: {error.strerror}") from None
            if not os.access(path, os.W_OK):
                raise UserError(f"{path}: cannot be written")

    def suites(self) -> list[str]:
        """The names of the suites with a result.

        Raises:
          UserError: if there is no result.
        """
        found = [name for name in NAMES if self.result(name).exists()]
        if not found:
            raise UserError(f"{self._pages}: has no results of benchmarks")
        return found

    def result(self, suite: str) -> Path:
        """The result file of a suite."""
        return self._pages / f"{suite}.json"

    def page(self, suite: str) -> Path:
        """The page of a suite."""
        return self._pages / f"{suite}.md"

    def picture(self, suite: str) -> Path:
        """The picture of a suite."""
        return self._pictures / f"benchmark_{suite}.png"

    def text(self, result: Result) -> str:
        """The page of a result as Markdown; it includes the picture if there is one.

        Args:
          result: the result, from `results.build` or `results.read`.
        """
        picture = self.picture(result["suite"])
        link = Path(os.path.relpath(picture, self._pages)).as_posix()
        return page(result, link if picture.exists() else None)

    def render(self, result: Result) -> list[str]:
        """Write the page and the picture of a result.

        Args:
          result: the result, from `results.build` or `results.read`.

        Returns:
          Lines that name the written files.
        """
        self.make()
        name = result["suite"]
        lines = []
        try:
            from experiments.bench.pictures import draw
        except ImportError as error:
            lines.append(f"no picture: {error.name} is not installed")
        else:
            write_atomic(self.picture(name), draw(result))
            lines.append(str(relative(self.picture(name))))
        write_atomic(self.page(name), self.text(result))
        return [str(relative(self.page(name))), *lines]
