"""Runs are grouped into arms by their configs, and named by what differs."""

import dataclasses

import pytest

from experiments.errors import UserError
from experiments.report.arms import make_sections, short_names, show_value
from experiments.report.runs import read_run
from experiments.tasks import Adding, Copy
from tests.helpers.runs import write_run


def sections(*paths, **settings):
    return make_sections([read_run(path) for path in paths], **settings)


def names(section):
    return [arm.name for arm in section.arms]


def test_runs_that_differ_in_the_seed_are_one_arm(tmp_path):
    a = write_run(tmp_path / "a", [300, None], seed=0)
    b = write_run(tmp_path / "b", [500], seed=7)
    (section,) = sections(a, b)
    (arm,) = section.arms
    assert [seed.seed for seed in arm.seeds] == [0, 1, 7]
    assert (arm.key, arm.name, section.fields) == ("A", "adding, length 50", [])


def test_arms_have_the_fields_that_differ_and_numbers_are_in_order(tmp_path):
    runs = [
        write_run(
            tmp_path / f"{rate}-{goal}",
            [300],
            learning_rate=rate,
            fields={"train.stop_when": goal},
        )
        for rate in (0.1, 1e-3)
        for goal in ("solved", "never")
    ]
    (section,) = sections(*runs)
    assert section.fields == ["optimizer.learning_rate", "train.stop_when"]
    assert names(section) == [
        "learning_rate 0.001, stop_when solved",
        "learning_rate 0.001, stop_when never",
        "learning_rate 0.1, stop_when solved",
        "learning_rate 0.1, stop_when never",
    ]
    assert section.title == "adding, length 50"


def test_numbers_are_in_order(tmp_path):
    runs = [write_run(tmp_path / str(n), [300], task=Adding(length=n)) for n in (400, 50, 100)]
    (section,) = sections(*runs)
    assert names(section) == ["length 50", "length 100", "length 400"]
    assert section.title == "adding"


def test_by_pools_runs_that_differ_in_other_fields(tmp_path):
    runs = [
        write_run(
            tmp_path / f"{rate}-{length}", [300], learning_rate=rate, task=Adding(length=length)
        )
        for rate in (0.1, 0.01)
        for length in (50, 100)
    ]
    (section,) = sections(*runs, by=["task.length"])
    assert names(section) == ["length 50", "length 100"]
    assert [len(arm.seeds) for arm in section.arms] == [2, 2]  # the same seed of two configs
    assert section.pooled == {"optimizer.learning_rate": [0.1, 0.01]}
    with pytest.raises(UserError, match=r"--by task.lenth: .*did you mean task.length"):
        sections(*runs, by=["task.lenth"])


def test_a_seed_counts_once(tmp_path):
    """A second run of the same config and seed has the same numbers: it is no more evidence."""
    a = write_run(tmp_path / "a", [300, 400], finished=False, until=500)
    b = write_run(tmp_path / "b", [300, 400, 500])
    (section,) = sections(a, b)
    (arm,) = section.arms
    assert [(s.seed, s.run.name) for s in arm.seeds] == [(0, "b"), (1, "b"), (2, "b")]
    assert section.repeated == [f"A: seeds 0, 1 of {a} are those of {b}, and count once."]


def test_tasks_have_sections_of_their_own(tmp_path):
    a = write_run(tmp_path / "a", [300])
    b = write_run(tmp_path / "b", [300], task=Copy(delay=5))
    adding, copy = sections(a, b)
    assert [adding.metric, copy.metric] == ["mse", "cross_entropy"]
    adding, copy = sections(a, b, metric="cross_entropy")
    assert [adding.metric, copy.metric] == ["mse", "cross_entropy"]
    with pytest.raises(UserError, match=r"--metric ms: must be one of cross_entropy, mse; did you"):
        sections(a, b, metric="ms")


def test_a_seed_that_diverged_is_unsolved_up_to_the_end_of_the_budget(tmp_path):
    """Censored where it diverged, it would count as one that might have been solved later."""
    run = write_run(tmp_path / "a", [300, None, None], diverged=[None, 200, None])
    (section,) = sections(run)
    (arm,) = section.arms
    times = arm.times_to("solved")
    assert times.at.tolist() == [300, 1000, 1000]
    assert times.happened.tolist() == [True, False, False]
    assert arm.finite("mse") == [1e-4, 0.1]
    assert arm.compared("mse", lower=True) == [1e-4, float("inf"), 0.1]
    assert arm.compared("mse", lower=False) == [-1e-4, float("inf"), -0.1]


def test_fields_have_the_shortest_names_that_tell_them_apart():
    fields = ["model.layers.0.cell", "model.layers.1.cell", "optimizer.name", "seed"]
    assert list(short_names(fields).values()) == [
        "layers.0.cell",
        "layers.1.cell",
        "optimizer",
        "seed",
    ]
    assert short_names(["task.length"]) == {"task.length": "length"}


def test_values_are_short():
    assert show_value("a" * 100) == "a" * 37 + "..."
    assert show_value("a" * 100, longest=None) == "a" * 100
    assert show_value(0.1) == "0.1"


def test_sections_in_a_list_are_compared_one_by_one(tmp_path):
    run = read_run(write_run(tmp_path / "a", [300]))
    one = dataclasses.replace(run, values=run.values | {"model.layers.1.cell": "lstm"})
    two = dataclasses.replace(run, values=run.values | {"model.layers.1.cell": "gru"})
    (section,) = make_sections([one, two])
    assert section.fields == ["model.layers.1.cell"]
    assert names(section) == ["layers.1.cell lstm", "layers.1.cell gru"]


def test_fields_that_come_with_a_choice_are_not_named(tmp_path):
    """But they tell arms apart if nothing else does, as the layers of a longer list."""
    run = read_run(write_run(tmp_path / "a", [300]))

    def like(**values):
        fields = {name.replace("__", "."): value for name, value in values.items()}
        return dataclasses.replace(run, values=run.values | fields)

    sgd = like(optimizer__name="sgd", optimizer__momentum=0.9, optimizer__b1=None)
    lion = like(optimizer__name="lion", optimizer__shape=2)
    (section,) = make_sections([run, sgd, lion])
    assert section.fields == ["optimizer.name", "optimizer.b1"]
    one, two = (
        like(model__layers__0__cell="gru"),
        like(model__layers__0__cell="gru", model__layers__1__cell="gru", model__layers__1__size=3),
    )
    (section,) = make_sections([one, two])
    assert section.fields == ["model.layers.1.cell"]
    assert names(section) == ["layers.1.cell none", "layers.1.cell gru"]
