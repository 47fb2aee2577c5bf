"""The ranges that the header of a config states."""

import re
from pathlib import Path

from experiments.commands.listing import header

NUMBER = r"(\d[\d,.]*\d|\d)"


def expected_range(path: Path, what: str) -> tuple[float, float]:
    """The two numbers that follow some words in a header.

    >>> demo = Path(__file__).parents[2] / "configs" / "demo.yaml"
    >>> expected_range(demo, "solved after")[1] > 1000
    True
    """
    text = " ".join(" ".join(header(path)).split())
    low, high = re.findall(rf"{what} {NUMBER} to {NUMBER}", text)[0]
    return float(low.replace(",", "")), float(high.replace(",", ""))
