"""From what was measured to the file that pages and pictures are made from, and back."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lstm_jax
from experiments import environment
from experiments.bench.cases import Case
from experiments.bench.implementations import CEILING, REFERENCE, Implementation
from experiments.bench.coordinator import Job, Measured, jobs_of
from experiments.bench.suites import Suite
from experiments.errors import UserError
from experiments.atomic_write import write_atomic

Result = dict[str, Any]
"""What a result file holds."""

Entry = dict[str, Any]
"""One of its measurements."""

INSTRUCTION_SETS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile",
    "amx_bf16", "asimd", "bf16", "sve", "sve2",
)  # fmt: skip
# Of what workers inherit, all that may change what is measured.
VARIABLES = ("GLIBC_TUNABLES", "KMP_", "LD_PRELOAD", "MKL_", "OMP_", "OPENBLAS_", "TORCH_", "XLA_")


def build(
    suite: Suite, implementations: Sequence[Implementation], measured: Measured, run: dict[str, Any]
) -> Result:
    """Put together what a result file holds.

    Args:
      suite: what was asked for.
      implementations: who was asked for.
      measured: what came of it; what is missing there is an entry without values.
      run: how it ran: its command, rounds, threads, and where and when.

    Returns:
      Plain values. Ratios are to the entry of the `"reference"`: above 1, the reference needs less.
    """
    entries = [_entry(job, measured) for job in jobs_of(suite, implementations)]
    reference = _reference(implementations, entries)
    ceilings = _ceilings(suite, entries, run.get("threads"))
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
        _add_rates(entry, suite, ceilings, run.get("threads"))
    return {
        "suite": suite.name,
        "title": suite.title,
        "about": suite.about,
        "device": suite.device,
        **run,
        "versions": _versions(measured),
        "cases": [case.as_dict() for case in suite.cases],
        "quantities": list(suite.quantities),
        "implementations": [
            {"name": c.name, "label": c.label, "ours": c.ours, "how": _how(suite, c)}
            for c in implementations
        ],
        "reference": reference,
        "ceiling_gflops": ceilings,
        "troubles": _troubles(suite, implementations, measured),
        "measurements": entries,
    }


def about_run(suite: Suite, measured: Measured, command: str, rounds: int) -> dict[str, Any]:
    """How a run ran, where and when.

    Args:
      suite: what was measured.
      measured: what came of it.
      command: the command line.
      rounds: rounds made.
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
    """Whether there is a value of any implementation.

    Args:
      result: what `build` returns.
    """
    return any(e["min"] for e in result["measurements"] if e["implementation"] != CEILING.name)


def find(result: Result, implementation: str, quantity: str, case: str) -> Entry | None:
    """The measurement of a implementation, if it was planned.

    Args:
      result: what `build` returns.
      implementation: the implementation's name.
      quantity: what was measured.
      case: the problem's name.
    """
    wanted = (implementation, quantity, case)
    return next((e for e in result["measurements"] if _key(e) == wanted), None)


def write(result: Result, path: Path) -> None:
    """Write a result file.

    Args:
      result: what `build` returns.
      path: the file.
    """
    write_atomic(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Result:
    """Read a result file.

    Args:
      path: the file.

    Raises:
      UserError: when it cannot be read, or is no such file.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        result = None
    if not isinstance(result, dict) or not {"suite", "measurements", "machine"} <= set(result):
        raise UserError(f"{path}: cannot be read: not what a benchmark has written")
    return result


def _entry(job: Job, measured: Measured) -> Entry:
    visits, trouble = measured.visits.get(job, []), measured.troubles.get(job)
    names = list(visits[0]) if visits else []
    rounds = {
        name: [[_digits(v[name]["min"]), _digits(v[name]["median"])] for v in visits]
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
    if job in measured.taken:
        entry["taken"] = measured.taken[job]
    return entry | ({trouble.kind: trouble.reason} if trouble else {})


def _reference(implementations: Sequence[Implementation], entries: Sequence[Entry]) -> str | None:
    """Whom ratios are to: this library's own choice, or else the first of it that was measured."""
    found = {entry["implementation"] for entry in entries if entry["min"]}
    names = [c.name for c in implementations if c.ours]
    names.sort(key=lambda name: (name not in found, name != REFERENCE))
    return names[0] if names else None


def bases_of(cases: Sequence[Case]) -> dict[str, str]:
    """The case that each is compared with, by name: the same problem, everything kept.

    Args:
      cases: all of a suite.
    """
    kept = {replace(c, name=""): c.name for c in cases if c.remat is None}
    problems = {c.name: replace(c, name="", remat=None) for c in cases}
    return {name: kept.get(problem, name) for name, problem in problems.items()}


def _ceilings(suite: Suite, entries: Sequence[Entry], threads: int | None) -> dict[str, float]:
    """The best rate of square products in GF/s, by number of threads."""
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


def _troubles(
    suite: Suite, implementations: Sequence[Implementation], measured: Measured
) -> list[dict[str, Any]]:
    """Every implementation's troubles, those of one reason together."""
    everything = jobs_of(suite, implementations)
    found: dict[tuple[str, str, str], list[Job]] = {}
    for job, trouble in measured.troubles.items():
        found.setdefault((job.implementation, trouble.kind, trouble.reason), []).append(job)
    return [
        {
            "implementation": name,
            "kind": kind,
            "reason": reason,
            # None for all there is.
            "where": None
            if len(jobs) == sum(job.implementation == name for job in everything)
            else [f"{job.case.name} {job.quantity}" for job in jobs],
        }
        for (name, kind, reason), jobs in found.items()
    ]


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry["implementation"], entry["quantity"], entry["case"]


def _digits(value: float) -> float:
    """Five digits, which is more than any of this repeats to."""
    return float(f"{value:.5g}")
