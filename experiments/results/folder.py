"""What stands in the folder of a results page: rows, what is declared of them, and figures."""

from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UserError
from experiments.results.declared import Declared, Published, read_declared, read_published
from experiments.results.rows import Row, read_rows
from lstm_jax.did_you_mean import did_you_mean

PAGE = "README.md"
FIGURES = "figures"


@dataclass(frozen=True)
class Results:
    """What stands in the folder of a results page.

    Attributes:
      folder: the folder.
      rows: the rows by task.
      declared: what is said of the rows by hand.
      published: published figures by task.
    """

    folder: Path
    rows: dict[str, list[Row]]
    declared: dict[str, Declared]
    published: dict[str, list[Published]]

    def of_task(self, task: str) -> list[Row]:
        """The rows of a task.

        Raises:
          UserError: if no run has the task.
        """
        if task not in self.rows:
            hint = did_you_mean(task, self.rows)
            raise UserError(f"{self.folder / PAGE}: there is no run of the task {task}{hint}")
        return self.rows[task]


def read_results(folder: Path) -> Results:
    """Read the runs of a results page, and what is declared beside them.

    Raises:
      UserError: if a file is damaged, or a run is not finished.
    """
    declared = read_declared(folder)
    return Results(folder, read_rows(folder, declared), declared, read_published(folder))


def figure_name(what: str, task: str) -> str:
    """The file of a figure, below the folder of the page.

    >>> figure_name("curves", "adding")
    'figures/adding_curves.png'
    """
    return f"{FIGURES}/{task.rpartition(':')[2]}_{what}.png"
