"""What a field is drawn from: a range of numbers, or a list of choices."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.errors import UserError
from lstm_jax.did_you_mean import did_you_mean

RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; integers if both are integers.

    Attributes:
      low: the smallest.
      high: the largest.
      log: whether their logarithm is uniform, rather than they themselves.
      step: the distance of neighbours, counted from `low`; None for all numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def is_integer(self) -> bool:
        """Whether it has integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: np.random.Generator) -> float | int:
        """Draw a number; what is not an integer has four digits.

        >>> Range(1, 8).draw(np.random.default_rng(0)) in range(1, 9)
        True
        """
        share = float(rng.random())
        if self.step is not None:
            steps = math.floor((self.high - self.low) / self.step + 1e-9)
            value: float = self.low + self.step * min(int(share * (steps + 1)), steps)
            return int(value) if self.is_integer else float(f"{value:.10g}")
        low, high = self.low, self.high
        if self.is_integer:
            # Every integer has an interval of length one.
            low, high = low - 0.5, high + 0.5
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        value = round(value) if self.is_integer else float(f"{value:.4g}")
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """Values of any type."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one of the values."""
        return self.values[int(rng.random() * len(self.values))]


Distribution = Range | Choices


def read_distribution(value: Any, place: str) -> Distribution:
    """A distribution from a file: ``{low, high, log, step}`` or ``{choices: [...]}``.

    Args:
      value: what the file has.
      place: where it stands, for messages.

    Raises:
      UserError: if it is neither.

    >>> read_distribution({"low": 1e-4, "high": 1e-1, "log": True}, "")
    Range(low=0.0001, high=0.1, log=True, step=None)
    """
    if not isinstance(value, Mapping) or not ("choices" in value or "low" in value):
        raise UserError(
            f"{place}: must be {{low: A, high: B}}, with log or step, or {{choices: [...]}};"
            f" got {value!r:.60}"
        )
    known = ("choices",) if "choices" in value else RANGE
    for name in value:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"{place}.{name}: unknown; it may have {', '.join(known)}{hint}")
    if "choices" in value:
        choices = value["choices"]
        if not isinstance(choices, list) or not choices:
            raise UserError(f"{place}.choices: must be a list of values; got {choices!r:.60}")
        return Choices(tuple(choices))
    return _range(value, place)


def _range(value: Mapping[str, Any], place: str) -> Range:
    for name in ("low", "high", "step"):
        given = value.get(name)
        if (name in value or name != "step") and not _is_finite(given):
            raise UserError(f"{place}.{name}: must be a number; got {given!r:.60}")
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{place}.log: must be true or false; got {log!r:.60}")
    if low > high:
        raise UserError(f"{place}: low must not be greater than high; got {low} and {high}")
    if log and low <= 0:
        raise UserError(f"{place}.low: must be positive with log; got {low}")
    if step is not None and (log or step <= 0):
        raise UserError(f"{place}.step: must be positive, and without log; got {step}")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, float):
        low, high = float(low), float(high)
    return Range(low, high, log, step)


def generator(seed: int, name: str) -> np.random.Generator:
    """The random numbers of a field, which do not depend on the other fields.

    Args:
      seed: the seed of all draws.
      name: the dotted name of the field.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
