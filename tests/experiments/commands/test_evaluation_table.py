"""The table that the command evaluate prints."""

import numpy as np

from experiments.commands.evaluation_table import evaluation_table
from experiments.tasks import Copy
from experiments.training.evaluation import Evaluation
from tests.helpers.runs import config_of


def evaluated(metrics, **settings):
    """The lines of the table of given metrics of two seeds."""
    arrays = {name: np.array(values) for name, values in metrics.items()}
    config = config_of(seeds=2, **settings)
    evaluation = Evaluation(100, arrays, config.task.baselines((), "test"))
    table = evaluation_table(evaluation, config)
    return [line.strip() for line in table.splitlines()]


def test_baselines_stand_beside_the_result():
    assert evaluated({"within_0.04": [0.1, 0.3], "mse": [0.40, 0.50]}) == [
        "mse, always answer 1            0.1667",
        "mse, one operand known          0.08333",
        "mse, reached                    0.45 ± 0.071",
        "worse than always answer 1 and one operand known",
        "within_0.04                     0.2 ± 0.14",
        "solved (mse < 0.001)            0 of 2 seeds",
        "mastered (within_0.04 >= 0.99)  0 of 2 seeds",
    ]


def test_only_what_is_better_is_named():
    lines = evaluated({"within_0.04": [0.1, 0.3], "mse": [0.10, 0.12]})
    assert lines[3] == "worse than one operand known"


def test_a_result_better_than_the_baselines_has_no_remark():
    lines = evaluated({"within_0.04": [1.0, 1.0], "mse": [1e-4, 2e-4]})
    assert not any("worse" in line for line in lines)
    assert lines[-2] == "solved (mse < 0.001)            2 of 2 seeds"


def test_a_seed_without_a_result_is_left_out():
    lines = evaluated({"within_0.04": [0.1, np.nan], "mse": [0.1, np.nan]})
    assert lines[2] == "mse, reached                    0.1 (1 of 2 seeds)"
    assert lines[3] == "worse than one operand known"
    assert lines[-2] == "solved (mse < 0.001)            0 of 2 seeds"


def test_the_baselines_are_those_of_the_evaluated_task():
    metrics = {"cross_entropy": [0.1] * 2, "recall_accuracy": [1.0] * 2}
    lines = evaluated(metrics | {"perfect_sequences": [1.0] * 2}, task=Copy(delay=5))
    assert lines[0].startswith("cross_entropy, memoryless")
