"""Types of config fields, with their ranges, and errors of several fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
"""Validation of every part of a config: no unknown fields, no conversion of types."""


@dataclass(frozen=True)
class Lane:
    """Marks a field whose value may be an array: models with different values train together."""


class FieldErrors(ValueError):  # noqa: N818 - one for each of several fields
    """Fields with values that do not fit together.

    Args:
      errors: a message by dotted name.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)

    def below(self, section: str) -> "FieldErrors":
        """The same errors, with the names of a section's fields seen from outside of it.

        >>> str(FieldErrors({"h": "too large"}).below("zoneout"))
        'zoneout.h: too large'
        """
        return FieldErrors({f"{section}.{name}": text for name, text in self.errors.items()})


# Arrays are float32, where smaller numbers are zero and larger ones infinite.
SMALLEST, LARGEST = 1e-30, 1e30


def _in_float32(value: float) -> float:
    if 0 < abs(value) < SMALLEST:
        raise ValueError(f"must be 0, or at least {SMALLEST} in size; got {value}")
    return value


Integer = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=1, le=2**17)]
"""Number of units or features."""
Steps = Annotated[int, Field(ge=1, le=10**7)]
"""Time steps of a sequence."""
Decay = Annotated[float, Field(ge=0, le=0.999999), AfterValidator(_in_float32)]
Rate = Annotated[float, Field(ge=0, le=0.999)]
"""Probability of dropout and of similar draws."""
Positive = Annotated[float, Field(ge=SMALLEST, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[
    float, Field(ge=0, le=LARGEST, allow_inf_nan=False), AfterValidator(_in_float32)
]
Real = Annotated[
    float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False), AfterValidator(_in_float32)
]
