"""Types of config fields, with their ranges."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
"""Validation of every part of a config: no unknown fields, no conversion of types."""


@dataclass(frozen=True)
class Lane:
    """Marks a field whose value may be an array: models with different values train together."""


Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
"""Probability of dropout and of similar draws."""
# Numbers outside of these ranges become zero or infinite in float32.
Positive = Annotated[float, Field(ge=1e-30, le=1e30, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Real = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
