"""What a profiler trace says: the time of each operation on the device."""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WAITING = ("ThunkExecutor", "end:", "ThreadpoolListener")
"""Starts of the names of events in which a device's thread waits, or that only group others."""


def newest_trace(folder: Path) -> Path | None:
    """The newest trace for Perfetto in a folder of `jax.profiler`, or None."""
    found = folder.glob("plugins/profile/*/perfetto_trace.json.gz")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def operation_seconds(path: Path) -> dict[str, float]:
    """The time that each kind of operation took on the device, without that of operations inside.

    Args:
      path: a perfetto_trace.json.gz.

    Returns:
      Seconds by name, the longest first, summed over threads and streams. Numbers at the end of a
      name are dropped: ``dot.12`` and ``dot.7`` are ``dot``.
    """
    with gzip.open(path, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    names = {
        (event["pid"], event.get("tid") if event["name"] == "thread_name" else None):
        event["args"]["name"]
        for event in events
        if event.get("ph") == "M" and event["name"] in ("thread_name", "process_name")
    }  # fmt: skip
    devices = {pid for (pid, tid), name in names.items() if tid is None and "device:" in name}
    tracks: dict[tuple[Any, Any], list[Any]] = defaultdict(list)
    for event in events:
        if event.get("ph") != "X":
            continue
        thread = names.get((event["pid"], event["tid"]), "")
        # A GPU is a process of the trace; a CPU runs its operations in threads of XLA.
        on_device = event["pid"] in devices if devices else thread.startswith("tf_XLA")
        if on_device:
            tracks[event["pid"], event["tid"]].append(event)
    seconds: dict[str, float] = defaultdict(float)
    for track in tracks.values():
        for name, own in self_times(track):
            if not name.startswith(WAITING):
                seconds[re.sub(r"(\.\d+)+$", "", name)] += own / 1e6
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def self_times(events: Iterable[dict[str, Any]]) -> list[tuple[str, float]]:
    """The duration of each event of a thread without those of the events inside of it.

    Args:
      events: with ``name``, ``ts`` and ``dur``.

    >>> self_times([
    ...     {"name": "loop", "ts": 0, "dur": 10},
    ...     {"name": "dot", "ts": 1, "dur": 3},
    ...     {"name": "add", "ts": 5, "dur": 2},
    ... ])
    [('dot', 3), ('add', 2), ('loop', 5)]
    """
    found: list[tuple[str, float]] = []
    open_events: list[list[Any]] = []  # name, end, time of its own

    def close(until: float) -> None:
        while open_events and open_events[-1][1] <= until:
            name, _, own = open_events.pop()
            found.append((name, max(own, 0)))

    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        close(event["ts"])
        if open_events:
            open_events[-1][2] -= event["dur"]
        open_events.append([event["name"], event["ts"] + event["dur"], event["dur"]])
    close(float("inf"))
    return found
