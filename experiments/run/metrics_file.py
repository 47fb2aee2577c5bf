"""The metrics file of a run, metrics.jsonl: one JSON record per line."""

import json
from pathlib import Path
from typing import Any

from experiments.run.atomic_write import write_atomic


class MetricsFile:
    """Records of a run, in the order of their updates.

    Args:
      path: the file; it does not have to exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Add a record at the end."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All records up to the first line that a crash has truncated."""
        if not self.path.exists():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind(self, update: int) -> None:
        """Remove the records after `update`, which a resumed run writes again."""
        kept = [json.dumps(r) + "\n" for r in self.read() if r["update"] <= update]
        write_atomic(self.path, "".join(kept))
