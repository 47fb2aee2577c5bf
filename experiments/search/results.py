"""What a search has found: the best trials, how to train the best, and which fields matter."""

import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.search.spec import SearchSpec
from experiments.search.stale import trial_path
from experiments.search.trial import COMMAND

SHOWN = 5
ENOUGH = 8
"""Trials that are needed to say which fields matter."""


def best_trials(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The best complete trials, the best first."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: sign * (trial.value or 0.0))[:count]


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each field in the differences between trials, by PED-ANOVA.

    Empty if there are too few complete trials.

    Reference: Watanabe, Bansal & Hutter (2023).
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            return optuna.importance.get_param_importances(study, evaluator=evaluator)
        # If all trials are equally good, nothing matters more than anything else.
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}


def describe_results(spec: SearchSpec, study: optuna.Study, folder: Path) -> str:
    """The results as text."""
    trials = study.get_trials(deepcopy=False)
    counts = {
        state: sum(trial.state == state for trial in trials)
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    }
    lines = [
        f"{study.study_name}: {counts[TrialState.COMPLETE]} trials complete,"
        f" {counts[TrialState.PRUNED]} pruned; {study.direction.name.lower()} validation"
        f" {spec.metric}",
        "",
    ]
    best = best_trials(study, SHOWN)
    if not best:
        return "\n".join([*lines, "no trial is complete: all were poor, or have diverged"])
    fields = list(spec.fields)
    head = ("trial", spec.metric, *(name.rpartition(".")[2] for name in fields))
    rows = [head]
    rows += [
        (f"{trial.number}", f"{trial.value:.4g}", *(_text(trial.params.get(n)) for n in fields))
        for trial in best
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines += [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    shares = importances(study)
    if shares:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        lines += ["", f"what matters: {parts}"]
    first = best[0]
    lines += [
        "",
        f"the best run is in {trial_path(folder, first.number)}; to train it alone:",
        f"  {first.user_attrs[COMMAND]}",
    ]
    return "\n".join(lines)


def results_record(study: optuna.Study) -> str:
    """The results as JSON, for best.json."""
    best = best_trials(study, 1)
    record: dict[str, Any] = {"study": study.study_name, "importances": importances(study)}
    if best:
        record |= {
            "trial": best[0].number,
            "value": best[0].value,
            "values": best[0].params,
            "command": best[0].user_attrs[COMMAND],
        }
    return json.dumps(record, indent=2) + "\n"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
