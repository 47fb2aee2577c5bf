"""The table that the command evaluate prints."""

import numpy as np

from experiments.config.schema import Config
from experiments.run.summary import in_columns, lower_is_better, metric_rows
from experiments.tasks import goals
from experiments.training.evaluation import Evaluation


def evaluation_table(evaluation: Evaluation, config: Config) -> str:
    """The metrics beside the baselines of the evaluated sequences, and the goals reached.

    Args:
      evaluation: the metrics, and the baselines.
      config: the config whose task was evaluated.
    """
    task, metrics, baselines = config.task, evaluation.metrics, evaluation.baselines
    rows = metric_rows(task.metric, metrics, baselines)
    reached = np.asarray(metrics[task.metric])
    finite = reached[np.isfinite(reached)]
    if len(finite):
        sign = 1 if lower_is_better(task, task.metric) else -1
        mean = float(np.mean(finite))
        better = [name for name, value in baselines.items() if sign * value < sign * mean]
        if better:
            rows.insert(len(baselines) + 1, ("", f"worse than {' and '.join(better)}"))
    for name, goal in goals(task).items():
        count = f"{np.sum(goal.reached(metrics))} of {len(reached)} seeds"
        rows.append((f"{name} ({goal})", count))
    return in_columns(rows)
