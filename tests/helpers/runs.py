"""Folders of runs, written without training."""

import dataclasses
import json
from pathlib import Path

from experiments.config.file import dump_config, load_config
from experiments.run.summary import describe_task
from experiments.tasks import Adding, goals

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
BASELINES = {"always answer 1": 1 / 6, "one operand known": 1 / 12}


def config_of(fields=None, *, task=None, learning_rate=0.01, updates=1000, seed=0, seeds=1):
    """A config of the adding task, or another, with a few settings and others by dotted name."""
    task = dataclasses.asdict(task or Adding(length=50))
    flags = {f"task.{name}": value for name, value in task.items()}
    flags |= {"optimizer.learning_rate": learning_rate, "seed": seed, "seeds": seeds}
    flags |= {"train.updates": updates, "train.log_every": 100, "train.eval_every": 100}
    flags |= {"eval.sequences": 10, "eval.batch_size": 10}
    return load_config(CONFIG, flags | (fields or {}))


def write_run(
    path,
    solved_at,
    *,
    test=None,
    diverged=None,
    finished=True,
    until=None,
    on_test=None,
    **settings,
):
    """Write the files of a run of the adding task: every seed is at 1e-1, and solved at 1e-4.

    Args:
      path: the workdir.
      solved_at: for each seed the update at which it is solved, or None.
      test: the test metric of each seed; that of the last update if None.
      diverged: for each seed the update at which it diverged, or None.
      finished: whether there is a summary.
      until: the last update; that of the config if None.
      on_test: by goal, whether each seed reached it on test sequences; as while training if None.
      settings: of `config_of`.
    """
    path, count = Path(path), len(solved_at)
    config = config_of(seeds=count, **settings)
    metric, until = config.task.metric, until or config.train.updates
    diverged = diverged or [None] * count
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(dump_config(config))
    lines = []
    for update in range(100, until + 1, 100):
        values = [
            None if lost and update >= lost else 1e-4 if at and update >= at else 0.1
            for at, lost in zip(solved_at, diverged, strict=True)
        ]
        record = {"update": update, "sequences": 32 * update, "loss": values}
        lines.append(json.dumps(record | {"validation": {metric: values}}))
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if not finished:
        return path
    test = test or [1e-4 if at else 0.1 for at in solved_at]
    named = goals(config.task)
    first = {name: solved_at if name == "solved" else [None] * count for name in named}
    reached = {name: [at is not None for at in first[name]] for name in named} | (on_test or {})
    summary = {
        "command": f"python -m experiments train {path}",
        "task": describe_task(config.task),
        "seeds": list(range(config.seed, config.seed + count)),
        "updates": [lost or until for lost in diverged],
        "sequences": [32 * (lost or until) for lost in diverged],
        "sequences_per_update": 32,
        "metric": metric,
        "baselines": BASELINES if config.task.name == "adding" else {"memoryless": 0.3},
        "test": {metric: {"seeds": test}},
        "goals": {
            name: {
                "goal": str(goal),
                "reached_on_test": reached[name],
                "first_at_update": first[name],
            }
            for name, goal in named.items()
        },
        "diverged": [
            None
            if lost is None
            else {"update": lost, "metric": "loss", "value": "inf", "group": ""}
            for lost in diverged
        ],
        "seconds": 75.0,
        "updates_per_second": 13.0,
        "python_share": 0.01,
        "figures": [],
    }
    (path / "summary.json").write_text(json.dumps(summary))
    environment = {"python": "3.11.7", "platform": "Linux x86_64", "cpu": "a CPU", "cores": 2}
    environment |= {"device": "cpu", "backend": "cpu", "versions": {"jax": "0.10.2"}}
    (path / "environment.json").write_text(json.dumps(environment))
    return path
