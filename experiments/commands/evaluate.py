"""``python -m experiments evaluate``: evaluate a trained model on test sequences."""

import numpy as np

from experiments.commands.overrides import first_path, parse_overrides
from experiments.config.file import load_config
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.numbers import mean_and_spread
from experiments.run.summary import describe_task
from experiments.run.workdir import Workdir
from experiments.tasks import goals
from experiments.training.evaluation import evaluate_run


def evaluate_command(words: list[str]) -> int:
    """``evaluate WORKDIR [--task.field value ...] [--eval.field value ...]``."""
    path, rest = first_path(words, "evaluate", "WORKDIR", "the folder of a run")
    overrides = parse_overrides(rest)
    fixed = [n for n in overrides if not n.startswith(("task.", "eval.")) or n == "task.name"]
    if fixed:
        raise UserError(f"--{fixed[0]}: evaluate takes --task.* and --eval.* fields only")
    workdir = Workdir.existing(path)
    config = load_config(path / "config.yaml", overrides)
    updates, metrics = evaluate_run(workdir, config)
    print(f"{describe_task(config.task)}, {config.eval.sequences:,} test sequences,", end=" ")
    print(f"after {updates:,} updates\n")
    print(_table(metrics, config))
    return 0


def _table(metrics: dict[str, np.ndarray], config: Config) -> str:
    rows = {name: mean_and_spread(values) for name, values in metrics.items()}
    for name, goal in goals(config.task).items():
        rows[name] = f"{np.sum(goal.reached(metrics))} of {config.seeds} seeds ({goal})"
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
