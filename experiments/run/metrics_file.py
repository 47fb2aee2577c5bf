"""The metrics file of a run, metrics.jsonl: one JSON record per line.

A record is a mapping with its ``update``, which increases from line to line. It holds no times, so
that the file of a run that was killed and resumed equals that of an uninterrupted one.
"""

import hashlib
import itertools
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from experiments.errors import TrainingFailed, UserError
from experiments.run.atomic_write import (
    OPEN_FLAGS,
    sync_folder,
    write_all,
    write_errors,
    write_synced,
)
from experiments.run.read_file import form_error, parse_json, read_regular
from experiments.run.shown_path import shown


class MetricsMark(NamedTuple):
    """How far the file went when a checkpoint was made.

    Attributes:
      lines: the number of records.
      size: their bytes.
      sha256: the SHA-256 of these bytes, in hexadecimal digits.
    """

    lines: int = 0
    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()


class MetricsFile:
    """Records of a run, in the order of their updates.

    Args:
      path: the file; it does not have to exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._counted = False
        self._lines, self._size, self._digest = 0, 0, hashlib.sha256()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record at the end, as one whole line.

        Raises:
          TrainingFailed: if it cannot be written; then the file is as it was before.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with write_errors(self.path):
            handle = self._opened()
            try:
                write_all(handle, line)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, self._size)
                raise
        self._count(line)

    def mark(self) -> MetricsMark:
        """Wait until all records are on the disk, and return how far they go.

        Raises:
          TrainingFailed: if another program has changed the file meanwhile.
        """
        with write_errors(self.path):
            handle = self._opened()
            os.fsync(handle)
            there = os.fstat(handle)
            try:
                same = os.path.samestat(there, os.stat(self.path)) and there.st_size == self._size
            except FileNotFoundError:
                same = False
        if not same:
            raise TrainingFailed(
                f"{shown(self.path)}: another program has changed or removed this file during the"
                " training, so that no checkpoint was saved; the same command resumes from the"
                " checkpoint before, if the file is as it was then"
            )
        return MetricsMark(self._lines, self._size, self._digest.hexdigest())

    def read(self) -> list[dict[str, Any]]:
        """All records; the end of a line that is still being written is left out.

        Raises:
          UserError: if a line is no record.
        """
        records = []
        for number, line in enumerate(self._whole_lines(self._content()), 1):
            last = records[-1]["update"] if records else 0
            if isinstance(record := _record(line, last), str):
                raise UserError(f"{shown(self.path)}: line {number} is damaged: {record}")
            records.append(record)
        return records

    def mismatch(self, mark: MetricsMark, trusted: MetricsMark = MetricsMark()) -> str | None:  # noqa: B008
        """How the file differs from what it was at a mark.

        Args:
          mark: the mark.
          trusted: an earlier mark up to which the file is known to be right.

        Returns:
          What is wrong and in which line, as far as that can be known; None if the file goes up to
          the mark exactly.
        """
        data = self._content()
        if hashlib.sha256(data[: mark.size]).hexdigest() == mark.sha256 and len(data) >= mark.size:
            return None
        if not self.path.exists():
            return f"it is missing; it had {mark.lines} lines"
        lines = self._whole_lines(data)
        last = 0
        for number, line in enumerate(lines[: mark.lines], 1):
            if isinstance(record := _record(line, last), str):
                return f"line {number} is damaged: {record}"
            last = record["update"]
        if len(lines) < mark.lines:
            return f"it has {len(lines)} lines, not {mark.lines}"
        return f"a line from {trusted.lines + 1} to {mark.lines} was changed or removed"

    def has_more_than(self, mark: MetricsMark, earlier: MetricsMark) -> bool:
        """Whether the file has lines after `earlier` that are not just the first ones up to `mark`.

        If not, a resumed run writes all its lines again.
        """
        lines = self._content()[earlier.size :].split(b"\n")
        rest = [_record(line, 0) for line in lines[:-1]]
        return len(rest) >= mark.lines - earlier.lines or any(isinstance(r, str) for r in rest)

    def last_update(self) -> int:
        """The update of the last record that can be read, or 0."""
        records = [_record(line, 0) for line in self._whole_lines(self._content())]
        return max((r["update"] for r in records if not isinstance(r, str)), default=0)

    def rewind(self, mark: MetricsMark) -> None:
        """Cut what comes after a mark, which a resumed run writes again.

        Args:
          mark: a mark that the file matches.
        """
        data = self._content()[: mark.size]
        assert hashlib.sha256(data).hexdigest() == mark.sha256, "the file does not match the mark"
        self._lines, self._size, self._digest = mark.lines, mark.size, hashlib.sha256(data)
        self._counted = True
        with write_errors(self.path):
            handle = self._opened()
            if os.fstat(handle).st_size != mark.size:
                os.ftruncate(handle, mark.size)
                os.fsync(handle)

    def set_aside(self) -> Path:
        """Keep a copy of the file as it is, as metrics.jsonl.damaged-1 or the next free number.

        Returns:
          The copy.
        """
        names = (self.path.with_name(f"{self.path.name}.damaged-{n}") for n in itertools.count(1))
        copy = next(path for path in names if not os.path.lexists(path))
        with write_errors(copy):
            write_synced(copy, [self._content()])
            sync_folder(copy.parent)
        return copy

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _opened(self) -> int:
        if not self._counted:
            # Records of this process come after those that are there.
            for line in self._content().splitlines(keepends=True):
                self._count(line)
            self._counted = True
        if self._handle is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | OPEN_FLAGS
            self._handle = os.open(self.path, flags, 0o666)
            sync_folder(self.path.parent)
        return self._handle

    def _count(self, line: bytes) -> None:
        self._lines, self._size = self._lines + 1, self._size + len(line)
        self._digest.update(line)

    def _content(self) -> bytes:
        try:
            return read_regular(self.path)
        except FileNotFoundError:
            return b""
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{shown(self.path)}: cannot be read: {reason}") from None

    @staticmethod
    def _whole_lines(data: bytes) -> list[bytes]:
        return data.split(b"\n")[:-1]


def _record(line: bytes, last: int) -> dict[str, Any] | str:
    """The record of a line, or what is wrong with it."""
    try:
        record = parse_json(line)
    except ValueError:
        return "it is not JSON"
    if (reason := form_error(record, {"update": int})) is not None:
        return reason
    if record["update"] <= last:
        return f"update {record['update']} comes after update {last}"
    return record
