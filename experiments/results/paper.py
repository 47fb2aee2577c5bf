"""The rows of the paper of 1997, by the names with which rows here say that they repeat them."""

from experiments.tasks.hs1997.paper import PAPER, PaperResult

NAMES = {f"{result.experiment}, {result.setting}": result for result in PAPER}
"""The results of the paper by experiment and setting."""


def paper_results(name: str) -> list[PaperResult]:
    """The results of the paper with a name, or with one that goes on after it.

    Args:
      name: an experiment, alone or with its setting, whole or in part.

    >>> [result.setting for result in paper_results("3a, T = 100, N = 3")]
    ['T = 100, N = 3, ST1', 'T = 100, N = 3, ST2']
    >>> paper_results("2c, q = 1000, p = 50")[0].sequences
    203000
    """
    return [result for key, result in NAMES.items() if key == name or key.startswith(f"{name}, ")]
