"""The metrics of a run at other lengths than that of its training, in a file beside its summary."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from experiments.errors import UserError
from experiments.run.atomic_write import write_atomic

LENGTHS_FILE = "lengths.json"


def read_errors(path: Path) -> dict[str, dict[int, list[float]]]:
    """Metrics of every seed by metric and length; empty if there is no file.

    Raises:
      UserError: if the file is damaged.
    """
    if not path.exists():
        return {}
    kind = TypeAdapter(dict[str, dict[int, list[float]]])
    try:
        return kind.validate_json(path.read_bytes())
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise UserError(f"{path}: cannot be read: {detail['msg'][:100]}") from None


def write_errors_at(
    path: Path, errors: Mapping[str, Mapping[int, Sequence[float]]], digits: int = 5
) -> None:
    """Write metrics of every seed by metric and length.

    Args:
      path: the file.
      errors: for each metric and length, a value for each seed.
      digits: significant digits to keep.
    """
    lines = [
        f"  {json.dumps(metric)}: {{\n"
        + ",\n".join(
            f'    "{length}": {json.dumps([float(f"{value:.{digits}g}") for value in values])}'
            for length, values in by_length.items()
        )
        + "\n  }"
        for metric, by_length in errors.items()
    ]
    write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")
