"""A profile as text for a terminal of 80 columns."""

import textwrap
from typing import Any

from experiments.numbers import three_digits

WIDTH = 78
OPERATIONS = 6
"""Most operations in the text; profile.json has all."""


def render(profile: dict[str, Any]) -> str:
    """A profile as text.

    Args:
      profile: what `profile_config` returns.
    """
    batch, device = profile["batch"], profile["device"]
    seeds = "" if profile["seeds"] == 1 else f", {profile['seeds']} seeds together"
    count = f"{device['count']} x " if device["count"] > 1 else ""
    cells = profile["implementations"]
    facts = {
        "model": f"{profile['model']}, {profile['parameters']:,} parameters",
        "batch": f"{batch['sequences']:,} sequences of {batch['steps']:,} steps{seeds}",
        "device": f"{device['backend']}, {count}{device['kind']}",
        "backend": ", ".join(
            text.strip().partition("\n")[0] + (f" for {cell}" if len(cells) > 1 else "")
            for cell, text in cells.items()
        ),
    }
    parts = {name: value for name, value in profile["seconds"].items() if value is not None}
    own = {name: parts.pop(name) for name in [*parts] if name.startswith("profile: ")}
    parts |= {"this profile": sum(own.values()) + parts.pop("other")}
    total = profile["total_seconds"]
    times = {name: f"{value:9.3f} s  {value / total:6.1%}" for name, value in parts.items()}
    lines = [f"{profile['task']}: {profile['updates']:,} updates", *_table(facts)]
    lines += ["", "where the time goes", *_table(times | {"total": f"{total:9.3f} s"})]
    if profile["operations"]:
        lines += ["", "operations on the device, in the trace of one dispatch"]
        lines += _table(_operations(profile["operations"]))
    lines += ["", "speed of the training"]
    lines += _table(_speed(profile))
    memory = {k: f"{v:,.1f} MiB" for k, v in profile["memory_mib"].items() if v is not None}
    lines += ["", "memory", *_table(memory)]
    return "\n".join(lines)


def _operations(seconds: dict[str, float]) -> dict[str, str]:
    total = sum(seconds.values())
    first = list(seconds.items())[:OPERATIONS]
    rest = total - sum(value for _, value in first)
    shown = dict(first) | ({"others": rest} if len(seconds) > len(first) else {})
    return {name[:40]: f"{value:9.3f} s  {value / total:6.1%}" for name, value in shown.items()}


def _speed(profile: dict[str, Any]) -> dict[str, str]:
    giga = 1e9
    xla, ceiling = profile["flops_by_xla"], profile["ceiling"]
    by_xla = "" if xla is None else (
        f"; XLA counts {three_digits(xla / giga)} G a dispatch, as it counts a loop's body once and"
        " nothing in the native backend"
    )  # fmt: skip
    return {
        "updates": f"{three_digits(profile['updates_per_second'])} per second",
        "sequences": f"{three_digits(profile['sequences_per_second'])} per second",
        "time steps": f"{three_digits(profile['steps_per_second'])} per second",
        "in Python": f"{profile['host_share']:.1%} of the updates",
        "evaluations": f"{profile['evaluation_share']:.1%} of a training",
        "operations": (
            f"{three_digits(profile['flops_per_update'] / giga)} GFLOP an update, in the matrix"
            f" products of the plain scan{by_xla}"
        ),
        "achieved": (
            f"{three_digits(profile['flops_per_second'] / giga)} GFLOP/s,"
            f" {profile['ceiling_share']:.1%} of the"
            f" {three_digits(ceiling['flops_per_second'] / giga)} GFLOP/s of a product of matrices"
            f" of size {ceiling['size']:,}"
        ),
    }


def _table(rows: dict[str, str]) -> list[str]:
    """Labels and values; long values are wrapped."""
    width = max(map(len, rows))
    lines = []
    for label, value in rows.items():
        if width > WIDTH // 2:
            lines += textwrap.wrap(label, WIDTH, initial_indent="  ", subsequent_indent="  ")
            lines += textwrap.wrap(value, WIDTH, initial_indent="    ", subsequent_indent="    ")
            continue
        first, *rest = textwrap.wrap(value, WIDTH - width - 4, drop_whitespace=False) or [""]
        lines.append(f"  {label:<{width}}  {first}".rstrip())
        lines += [f"  {'':<{width}}  {line.strip()}" for line in rest]
    return lines
