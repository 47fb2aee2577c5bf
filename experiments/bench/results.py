"""Result files: from the measurements to JSON, from which pages and pictures are made."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lstm_jax
from experiments.bench.cases import Case
from experiments.bench.coordinator import Job, Measured, jobs_of
from experiments.bench.implementation import CEILING, REFERENCE, Implementation
from experiments.bench.suites import Suite
from experiments.errors import UserError
from experiments.run import environment
from experiments.run.atomic_write import write_atomic

Result = dict[str, Any]
"""The content of a result file."""

Entry = dict[str, Any]
"""One measurement of a result."""

INSTRUCTION_SETS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile",
    "amx_bf16", "asimd", "bf16", "sve", "sve2",
)  # fmt: skip
VARIABLES = ("GLIBC_TUNABLES", "KMP_", "LD_PRELOAD", "MKL_", "OMP_", "OPENBLAS_", "TORCH_", "XLA_")
"""Prefixes of inherited environment variables that may change the measurements."""


def build(
    suite: Suite,
    implementations: Sequence[Implementation],
    measured: Measured,
    conditions: dict[str, Any],
) -> Result:
    """The content of a result file.

    Args:
      suite: the suite.
      implementations: the implementations.
      measured: the measurements; jobs without a measurement give entries without values.
      conditions: from `conditions`.

    Returns:
      Plain values. Ratios are to the `"reference"`: above 1, the reference needs less.
    """
    entries = [_entry(job, measured) for job in jobs_of(suite, implementations)]
    reference = _reference(implementations, entries)
    ceilings = _ceilings(suite, entries, conditions.get("threads"))
    by_key = {_key(entry): entry for entry in entries}
    bases = bases_of(suite.cases)
    for entry in entries:
        base = bases.get(entry["case"], "")
        other = by_key.get((reference or "", entry["quantity"], base), {})
        entry["ratio"] = {
            name: _digits(value / other["min"][name])
            for name, value in entry["min"].items()
            if other.get("min", {}).get(name)
        }
        _add_rates(entry, suite, ceilings, conditions.get("threads"))
    return {
        "suite": suite.name,
        "title": suite.title,
        "about": suite.about,
        "device": suite.device,
        **conditions,
        "versions": _versions(measured),
        "cases": [case.as_dict() for case in suite.cases],
        "quantities": list(suite.quantities),
        "implementations": [
            {"name": c.name, "label": c.label, "ours": c.ours, "how": _how(suite, c)}
            for c in implementations
        ],
        "reference": reference,
        "ceiling_gflops": ceilings,
        "troubles": _not_measured(suite, implementations, measured),
        "measurements": entries,
    }


def conditions(suite: Suite, measured: Measured, command: str, rounds: int) -> dict[str, Any]:
    """The conditions of the measurements: command, date, versions, machine and commit.

    Args:
      suite: the suite.
      measured: the measurements.
      command: the command line.
      rounds: number of rounds.
    """
    machine = environment.machine()
    flags = (environment.cpu_field("flags") or environment.cpu_field("Features") or "").split()
    machine["instruction_sets"] = [name for name in INSTRUCTION_SETS if name in flags]
    if suite.device == "gpu":
        machine["gpu"] = next((r["device"] for r in measured.reports.values()), None)
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "lstm_jax": lstm_jax.__version__,
        "rounds": rounds,
        "budget_seconds": suite.budget,
        "threads": machine["cores"],
        "machine": machine,
        "variables": {n: os.environ[n] for n in sorted(os.environ) if n.startswith(VARIABLES)},
        **environment.commit(),
    }


def anything_measured(result: Result) -> bool:
    """Whether a result contains a measurement of an implementation.

    Args:
      result: the result.
    """
    return any(e["min"] for e in result["measurements"] if e["implementation"] != CEILING.name)


def find(result: Result, implementation: str, quantity: str, case: str) -> Entry | None:
    """Find a measurement, or None if it was not planned.

    Args:
      result: the result.
      implementation: the name of the implementation.
      quantity: the quantity.
      case: the name of the case.
    """
    key = (implementation, quantity, case)
    return next((e for e in result["measurements"] if _key(e) == key), None)


def write(result: Result, path: Path) -> None:
    """Write a result file.

    Args:
      result: the result.
      path: the file.
    """
    write_atomic(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Result:
    """Read a result file.

    Args:
      path: the file.

    Raises:
      UserError: if the file cannot be read, or is not a result.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        result = None
    if not isinstance(result, dict) or not {"suite", "measurements", "machine"} <= set(result):
        raise UserError(f"{path}: cannot be read: not written by a benchmark")
    return result


def _entry(job: Job, measured: Measured) -> Entry:
    values, not_measured = measured.values.get(job, []), measured.not_measured.get(job)
    names = list(values[0]) if values else []
    rounds = {
        name: [[_digits(v[name]["min"]), _digits(v[name]["median"])] for v in values]
        for name in names
    }
    entry: Entry = {
        "implementation": job.implementation,
        "quantity": job.quantity,
        "case": job.case.name,
        "threads": job.case.threads,
        "flops": job.case.flops(job.quantity),
        "min": {name: min(low for low, _ in pairs) for name, pairs in rounds.items()},
        "median": {
            name: _digits(statistics.median(middle for _, middle in pairs))
            for name, pairs in rounds.items()
        },
        "rounds": rounds,
    }
    if job in measured.backends:
        # Result files store the backend as "taken".
        entry["taken"] = measured.backends[job]
    return entry | ({not_measured.kind: not_measured.reason} if not_measured else {})


def _reference(implementations: Sequence[Implementation], entries: Sequence[Entry]) -> str | None:
    """The reference of the ratios: `REFERENCE`, or this library's first with a measurement."""
    found = {entry["implementation"] for entry in entries if entry["min"]}
    names = [c.name for c in implementations if c.ours]
    names.sort(key=lambda name: (name not in found, name != REFERENCE))
    return names[0] if names else None


def bases_of(cases: Sequence[Case]) -> dict[str, str]:
    """For each case, the name of the case with equal sizes that keeps everything.

    Args:
      cases: the cases of a suite.
    """
    kept = {replace(c, name=""): c.name for c in cases if c.remat is None}
    same = {c.name: replace(c, name="", remat=None) for c in cases}
    return {name: kept.get(case, name) for name, case in same.items()}


def _ceilings(suite: Suite, entries: Sequence[Entry], threads: int | None) -> dict[str, float]:
    """The highest rate of the square products in GF/s, by number of threads."""
    best: dict[str, float] = {}
    for entry in entries:
        if entry["quantity"] == "product" and entry["min"]:
            name = str(entry["threads"] or threads)
            rate = entry["flops"] / entry["min"]["seconds"] / 1e9
            best[name] = max(best.get(name, 0.0), _digits(rate))
    return best


def _add_rates(entry: Entry, suite: Suite, ceilings: dict[str, float], threads: int | None) -> None:
    if not suite.ceiling or entry["flops"] is None or "seconds" not in entry["min"]:
        return
    entry["gflops"] = _digits(entry["flops"] / entry["min"]["seconds"] / 1e9)
    ceiling = ceilings.get(str(entry["threads"] or threads))
    if ceiling:
        entry["share_of_ceiling"] = _digits(entry["gflops"] / ceiling)
        entry["roofline_seconds"] = _digits(entry["flops"] / ceiling / 1e9)


def _versions(measured: Measured) -> dict[str, str]:
    found: dict[str, str] = {}
    for report in measured.reports.values():
        found |= report["versions"]
    return found


def _how(suite: Suite, implementation: Implementation) -> str:
    return implementation.step if suite.quantities == ("step",) else implementation.sequence


def _not_measured(
    suite: Suite, implementations: Sequence[Implementation], measured: Measured
) -> list[dict[str, Any]]:
    """The jobs that were not measured, grouped by implementation and reason."""
    all_jobs = jobs_of(suite, implementations)
    found: dict[tuple[str, str, str], list[Job]] = {}
    for job, (kind, reason) in measured.not_measured.items():
        found.setdefault((job.implementation, kind, reason), []).append(job)
    return [
        {
            "implementation": name,
            "kind": kind,
            "reason": reason,
            # None means all jobs of the implementation.
            "where": None
            if len(jobs) == sum(job.implementation == name for job in all_jobs)
            else [f"{job.case.name} {job.quantity}" for job in jobs],
        }
        for (name, kind, reason), jobs in found.items()
    ]


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry["implementation"], entry["quantity"], entry["case"]


def _digits(value: float) -> float:
    """Round to five digits, which is more than the precision of the measurements."""
    return float(f"{value:.5g}")
