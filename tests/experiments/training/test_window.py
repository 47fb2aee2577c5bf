"""Goals on training sequences: when they are reached, and that a lane stops there."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.config.model import model_config
from experiments.config.optimizer import SGD
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.model import make_model
from experiments.report.runs import read_run
from experiments.run.workdir import Workdir
from experiments.tasks import Adding, Goal
from experiments.training import keys
from experiments.training.train_step import make_train_functions
from experiments.training.trainer import Trainer
from experiments.training.training_loop import finish_run


@dataclass(frozen=True, config=STRICT)
class Easy(Adding):
    """Adding with goals that are reached soon."""

    solved: ClassVar[Goal] = Goal("mse", "<", 0.3, also=Goal("within_0.04", ">=", 0.1))
    mastered: ClassVar[Goal | None] = Goal("mse", "<", 0.19)


WINDOW, BATCH, UPDATES, SEEDS = 20, 2, 60, 3
TINY = Config(
    task=Easy(length=4),
    model=model_config(hidden_size=4),
    optimizer=SGD(learning_rate=0.1),
    train=TrainConfig(
        batch_size=BATCH, updates=UPDATES, log_every=10, eval_every=60, checkpoint_every=10,
        window=WINDOW, stop_when="mastered",
    ),
    eval=EvalConfig(sequences=20, batch_size=10),
    seeds=SEEDS,
)  # fmt: skip
ALL = jnp.ones(SEEDS, bool)


def with_train(**fields):
    return dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, **fields))


def one_by_one():
    """By hand: each batch's metrics before its update, and the parameters after each."""
    functions = make_train_functions(with_train(window=None, stop_when="never"))
    model, states = make_model(TINY.model, TINY.task), functions.init()
    metrics, params = [], []

    @jax.jit
    @jax.vmap
    def measure(seed, params, update):
        batch = TINY.task.sample((), "train", keys.batch_key(seed, update), BATCH)
        return TINY.task.metrics(model.apply(params, batch.inputs), batch)

    for _ in range(UPDATES):
        measured = measure(functions.lanes.arrays().seed, states.params, states.update)
        metrics.append({name: np.asarray(each) for name, each in measured.items()})
        states, _ = functions.train_steps((), states, ALL, 1)
        params.append(jax.tree.map(np.asarray, states.params))
    return metrics, params


def reached_by_hand(goal, metrics, lane):
    entries = WINDOW // BATCH
    for update in range(entries, UPDATES + 1):
        last = metrics[update - entries : update]
        means = {name: np.mean([each[name][lane] for each in last]) for name in last[0]}
        if goal.reached(means):
            return update
    return None


@pytest.fixture(scope="module")
def by_hand():
    return one_by_one()


def run(path, config=TINY, resumes=False):
    """Train to the end, without figures; or stop and resume after every dispatch."""
    workdir, functions = Workdir.of(path, config), make_train_functions(config)
    with workdir.locked():
        workdir.begin(config)
        trainer = Trainer(config, workdir, functions, ())
        while not trainer.done:
            trainer.advance(lambda *_: None)
            if resumes:
                trainer.save()
                trainer = Trainer(config, workdir, functions, ())
        return trainer, finish_run(trainer, "the command", figures=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("window") / "run"
    return path, *run(path)


def test_lanes_stop_where_the_last_sequences_reach_the_goal(by_hand, finished):
    metrics, params = by_hand
    _, trainer, summary = finished
    found = {name: goal["first_at_update"] for name, goal in summary["goals"].items()}
    assert found["mastered"] == [reached_by_hand(Easy.mastered, metrics, i) for i in range(SEEDS)]
    stops = [at or UPDATES for at in found["mastered"]]
    assert summary["updates"] == stops
    solved = [reached_by_hand(Easy.solved, metrics, i) for i in range(SEEDS)]
    # What would have come after the stop is not known.
    wanted = [at if at and at <= stop else None for at, stop in zip(solved, stops, strict=True)]
    assert found["solved"] == wanted
    # Some stop inside of a dispatch, at different updates; before the window is full, none does.
    assert any(stop % 10 for stop in stops)
    assert len({*stops}) == SEEDS
    assert min(stops) >= WINDOW // BATCH
    for lane, stop in enumerate(stops):
        jax.tree.map(
            lambda found, wanted, lane=lane: np.testing.assert_allclose(
                found[lane], wanted[lane], rtol=1e-5, atol=1e-6
            ),
            trainer.states.params,
            params[stop - 1],
        )


def test_losses_are_means_up_to_the_stop(by_hand, finished):
    metrics, _ = by_hand
    path, _, summary = finished
    for record in Workdir(path).metrics.read():
        end = record["update"]
        for lane, stop in enumerate(summary["updates"]):
            done = [each["mse"][lane] for each in metrics[end - 10 : min(stop, end)]]
            wanted = pytest.approx(np.mean(done), rel=1e-4) if done else None
            assert record["loss"][lane] == wanted


def test_a_resumed_run_has_the_same_bits(finished, tmp_path):
    _, whole, summary = finished
    resumed, again = run(tmp_path, resumes=True)
    jax.tree.map(np.testing.assert_array_equal, whole.states, resumed.states)
    assert again["goals"] == summary["goals"]
    assert again["updates"] == summary["updates"]


def test_an_unfinished_run_claims_no_goal(tmp_path):
    workdir = Workdir.of(tmp_path, TINY)
    with workdir.locked():
        workdir.begin(TINY)
        Trainer(TINY, workdir, make_train_functions(TINY), ()).advance(lambda *_: None)
    assert [seed.reached_at for seed in read_run(tmp_path).seeds] == [
        {"solved": None, "mastered": None}
    ] * SEEDS


def test_the_window_has_whole_updates():
    with pytest.raises(ValueError, match=r"train.window: must be a multiple .*4.*got 6"):
        with_train(window=6, batch_size=2, accumulate=2)


@pytest.mark.slow
def test_batches_of_an_accumulated_update_are_one_entry():
    functions = make_train_functions(with_train(accumulate=2, stop_when="never"))
    states, _ = functions.train_steps((), functions.init(), ALL, 3)
    assert states.window is not None
    assert states.window.metrics["mse"].shape == (SEEDS, WINDOW // (2 * BATCH))
    assert np.isfinite(states.window.metrics["mse"]).sum() == 3 * SEEDS
