"""Where results, pages and pictures lie."""

import os
from pathlib import Path

from experiments.bench.pages import page
from experiments.bench.worker_process import ROOT
from experiments.bench.results import Result
from experiments.bench.suites import NAMES
from experiments.errors import UserError
from experiments.atomic_write import write_atomic
from experiments.listing import relative

PAGES = ROOT / "docs" / "benchmarks"
PICTURES = ROOT / "docs" / "images"


class Folder:
    """A folder for everything, or the two of the documentation.

    Args:
      path: the folder, or None for the documentation's.
    """

    def __init__(self, path: Path | None) -> None:
        self._pages, self._pictures = (PAGES, PICTURES) if path is None else (path, path)

    def make(self) -> None:
        """Make it, before anything has cost time.

        Raises:
          UserError: when it cannot be written.
        """
        for path in (self._pages, self._pictures):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{path}: cannot be written: {error.strerror}") from None
            if not os.access(path, os.W_OK):
                raise UserError(f"{path}: cannot be written")

    def suites(self) -> list[str]:
        """The suites that have a page: in the documentation all, elsewhere those with a result.

        Raises:
          UserError: when there is none.
        """
        if self._pages == PAGES:
            return list(NAMES)
        found = [name for name in NAMES if self.result(name).exists()]
        if not found:
            raise UserError(f"{self._pages}: holds no results of benchmarks")
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
        """The page of a result, with its picture where that exists.

        Args:
          result: what `results.build` returns.
        """
        picture = self.picture(result["suite"])
        link = Path(os.path.relpath(picture, self._pages)).as_posix()
        return page(result, link if picture.exists() else None)

    def render(self, result: Result) -> list[str]:
        """Write the page and the picture of a result, and say what was written.

        Args:
          result: what `results.build` returns.
        """
        name = result["suite"]
        said = []
        if result["machine"]:
            try:
                from experiments.bench.pictures import draw
            except ImportError as error:
                said.append(f"without a picture, as there is no {error.name}")
            else:
                write_atomic(self.picture(name), draw(result))
                said.append(str(relative(self.picture(name))))
        write_atomic(self.page(name), self.text(result))
        return [str(relative(self.page(name))), *said]
