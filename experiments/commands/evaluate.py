"""``python -m experiments evaluate``: evaluate a trained model on test sequences."""

from experiments.commands.evaluation_table import evaluation_table
from experiments.commands.overrides import first_path, parse_overrides
from experiments.config.file import load_config
from experiments.errors import UserError
from experiments.run.summary import describe_task
from experiments.run.workdir import Workdir
from experiments.training.evaluation import evaluate_run
from experiments.training.memory import memory_errors


def evaluate_command(words: list[str]) -> int:
    """``evaluate WORKDIR [--task.field value ...] [--eval.field value ...]``."""
    path, rest = first_path(words, "evaluate", "WORKDIR", "the folder of a run")
    overrides = parse_overrides(rest)
    fixed = [n for n in overrides if not n.startswith(("task.", "eval.")) or n == "task.name"]
    if fixed:
        raise UserError(f"--{fixed[0]}: evaluate takes --task.* and --eval.* fields only")
    workdir = Workdir.existing(path)
    config = load_config(path / "config.yaml", overrides)
    with memory_errors(config, "nothing was changed"):
        evaluation = evaluate_run(workdir, config)
    print(f"{describe_task(config.task)}, {config.eval.sequences:,} test sequences,", end=" ")
    print(f"after {evaluation.updates:,} updates\n")
    print(evaluation_table(evaluation, config))
    return 0
