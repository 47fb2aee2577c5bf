"""Seeds that diverge: they end alone, keep their last good state, and can be replayed."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.devices.mesh import Placement
from experiments.errors import TrainingFailed, UserError
from experiments.run.bundle import Bundle
from experiments.run.checkpoints import TrainingProgress
from experiments.run.summary import render
from experiments.run.workdir import Workdir
from experiments.training import training_loop
from experiments.training.divergence import divergence_of, failure
from experiments.training.lanes import Lanes
from experiments.training.loss_watch import LossWatch
from experiments.training.replay import replay
from experiments.training.train_step import UpdateDetails, make_train_functions
from experiments.training.trainer import Trainer, _means
from experiments.training.training_loop import train_run
from tests.helpers.small_config import no_figures, small_config

CONFIG = small_config({"optimizer.clip_norm": None, "seeds": 2})
# The second seed is the first one with a learning rate that no float survives.
LANES = Lanes((0, 1), {"optimizer.learning_rate": (1e-2, 1e30)})


def bad(values):
    """The parts of a diverged lane's values."""
    return jax.tree.map(lambda leaf: leaf[1], values)


@pytest.fixture(scope="module", autouse=True)
def _without_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "draw_figures", no_figures)
        yield


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run of which the second seed diverges, its summary and what it printed."""
    path = tmp_path_factory.mktemp("diverged") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "make_train_functions",
                      lambda config, **_: make_train_functions(config, LANES))  # fmt: skip
        summary = train_run(CONFIG, path, "the command")
    return path, summary


def test_one_seed_ends_and_the_other_goes_on(ended):
    path, summary = ended
    assert summary["diverged"][0] is None
    event = summary["diverged"][1]
    assert (event["update"], event["metric"], event["group"]) == (2, "loss", "cell/kernel")
    assert event["value"] in ("nan", "inf")
    assert summary["updates"] == [30, 1]
    mse = summary["test"]["mse"]
    assert mse["seeds"][1] is None
    assert mse["mean"] == mse["seeds"][0]
    assert mse["std"] == 0
    assert summary["goals"]["solved"]["reached_on_test"][1] is False
    assert "seed 1 diverged" in render(summary, path)


def test_its_losses_before_the_bad_update_are_kept(ended):
    path, _ = ended
    text = (path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    records = [json.loads(line) for line in text.splitlines()]
    assert [r["update"] for r in records] == [10, 20, 30]
    assert np.isfinite(records[0]["loss"]).all()
    assert records[1]["loss"][1] is None
    assert all(r["validation"]["mse"][1] is None for r in records)
    assert all(r["loss"][0] is not None for r in records)


def test_its_last_good_state_is_kept(ended):
    path, _ = ended
    functions = make_train_functions(CONFIG, LANES)
    states, progress = Workdir(path).checkpoints.restore(functions.init())
    expected, _ = functions.train_steps((), functions.init(), jnp.ones(2, bool), 1)
    jax.tree.map(np.testing.assert_array_equal, bad(states), bad(expected))
    assert progress.diverged[1]["update"] == 2
    assert states.update.tolist() == [30, 1]


def test_the_healthy_seed_is_as_it_is_without_the_other(ended):
    """The numbers of a lane do not change when another one ends."""
    functions = make_train_functions(CONFIG, LANES)
    states, _ = Workdir(ended[0]).checkpoints.restore(functions.init())
    alone = functions.init()
    for _ in range(3):
        alone, _ = functions.train_steps((), alone, jnp.array([True, False]), 10)
    np.testing.assert_array_equal(states.params.cell.kernel[0], alone.params.cell.kernel[0])


def test_a_bundle_replays_the_bad_update(ended, capsys):
    path, _ = ended
    (folder,) = (path / "diverged").iterdir()
    assert folder.name == "seed-1-optimizer.learning_rate-1e-30-update-2"
    event = Bundle(folder).event()
    assert len(event["losses"]) == 1
    assert event["metric"] == "loss"
    assert event["environment"]["versions"]["jax"] == jax.__version__
    again = replay(Bundle(folder))
    assert again.reproduced
    assert again.gradient_norms.keys() == event["gradient_norms"].keys()
    assert main(["replay", str(path)]) == 0
    out = capsys.readouterr().out
    for part in ("gradient norm, cell/kernel", "first step not finite", "reproduced: in the"):
        assert part in out


@pytest.mark.slow
def test_a_bundle_that_is_finite_again_says_so(ended, tmp_path, capsys):
    bundle = Bundle(tmp_path / "diverged" / "other")
    config = LANES.config(CONFIG, 0)
    state = jax.tree.map(lambda leaf: leaf[:1], make_train_functions(CONFIG, LANES).init())
    bundle.write(config, state, {"update": 1, "metric": "loss", "value": "nan"})
    assert main(["replay", str(tmp_path)]) == 1
    assert "not reproduced" in capsys.readouterr().out


@pytest.mark.slow
def test_the_first_bad_step_is_named(tmp_path):
    bundle = Bundle(tmp_path)
    state = jax.tree.map(
        lambda leaf: np.array(leaf[:1]), make_train_functions(CONFIG, LANES).init()
    )
    state.params.cell.recurrent_kernel[:] = np.inf
    bundle.write(LANES.config(CONFIG, 0), state, {"update": 1, "metric": "loss", "value": "nan"})
    again = replay(bundle)
    # The first step multiplies the zeros of the initial state by infinity.
    assert again.first_step is not None
    assert again.first_step[0] == 0
    assert again.reproduced


def test_a_bundle_keeps_random_keys_and_narrow_floats(tmp_path):
    """An optimizer that draws noise has a key in its state."""
    state = {"key": jax.random.key(3)[None], "kernel": jnp.ones((1, 2), jnp.bfloat16)}
    bundle = Bundle(tmp_path)
    bundle.write(CONFIG, Placement.one().to_host(state), {})
    again = bundle.state(jax.eval_shape(lambda: state))
    assert again["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        jax.random.key_data(again["key"]), jax.random.key_data(state["key"])
    )
    with pytest.raises(UserError, match="another model"):
        bundle.state({"kernel": jnp.ones(3)})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("divergence.json", b"{}", "not written by a run"),
        ("divergence.json", b"[", "not written by a run"),
        ("state.safetensors", b"", "cannot be read"),
    ],
)
def test_a_damaged_bundle_is_a_message(ended, tmp_path, name, content, message):
    (original,) = (ended[0] / "diverged").iterdir()
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(content)
    (bundle,) = Bundle.found(tmp_path)
    if name.endswith("json"):
        with pytest.raises(UserError, match=message):
            bundle.event()
    else:
        with pytest.raises(UserError, match=message):
            bundle.state({})


def test_a_folder_without_a_bundle_is_a_message(tmp_path):
    assert main(["replay"]) == 2
    assert main(["replay", str(tmp_path), "more"]) == 2
    with pytest.raises(UserError, match="nothing to replay"):
        Bundle.found(tmp_path)


def test_a_run_of_which_all_seeds_diverge_fails_and_leaves_the_folder_free(tmp_path, monkeypatch):
    lanes = Lanes((0, 1), {"optimizer.learning_rate": (1e30, 1e30)})
    monkeypatch.setattr(training_loop, "make_train_functions",
                        lambda config, **_: make_train_functions(config, lanes))  # fmt: skip
    with pytest.raises(TrainingFailed) as caught:
        train_run(CONFIG, tmp_path, "")
    message = str(caught.value)
    for part in ("1e+30: loss became", "at update 2, first in cell/kernel", "than 0.001",
                 "optimizer.clip_norm 1", f"replay {tmp_path}"):  # fmt: skip
        assert part in message
    assert not (tmp_path / "summary.json").exists()
    lower = small_config({"optimizer.learning_rate": 1e-4, "seeds": 2})
    assert Workdir.of(tmp_path, lower)
    stale = tmp_path / "diverged" / "seed-9-update-9"
    stale.mkdir()
    with pytest.raises(TrainingFailed):
        train_run(CONFIG, tmp_path, "")
    assert not stale.exists()
    assert len(Bundle.found(tmp_path)) == 2


def test_a_run_whose_last_seed_diverges_later_fails_again_at_once(tmp_path, monkeypatch):
    """Its metrics and its last good state are saved, so the folder is that of this config."""
    functions = make_train_functions(CONFIG, LANES)
    steps = functions.train_steps

    def diverging(data, states, active, updates):
        if int(states.update[0]) == 10:
            states = states._replace(params=jax.tree.map(lambda p: p * jnp.nan, states.params))
        return steps(data, states, active, updates)

    monkeypatch.setattr(training_loop, "make_train_functions",
                        lambda *_, **__: functions._replace(train_steps=diverging))  # fmt: skip
    for _ in range(2):
        with pytest.raises(TrainingFailed, match=r"seed 0.*at update 11, .*seed 1.*at update 2,"):
            train_run(CONFIG, tmp_path, "")
        assert [r["update"] for r in Workdir(tmp_path).metrics.read()] == [10, 20]
    other = dataclasses.replace(CONFIG, seeds=3)
    with pytest.raises(UserError, match="another config"):
        Workdir.of(tmp_path, other)


def test_a_metric_that_is_not_finite_ends_a_seed(tmp_path, monkeypatch):
    functions = make_train_functions(CONFIG, LANES)

    def evaluate(data, split, params):
        metrics = functions.evaluate(data, split, params)
        return {**metrics, "mse": metrics["mse"].at[0].set(jnp.inf)}

    workdir = Workdir.of(tmp_path, CONFIG).begin(CONFIG)
    trainer = Trainer(CONFIG, workdir, functions._replace(evaluate=evaluate), ())
    trainer.advance(lambda *_: None)
    event = {"update": 10, "metric": "mse", "value": "inf", "group": None}
    assert trainer.progress.diverged[0] == event
    assert trainer.updates == [10, 1]
    assert workdir.metrics.read()[0]["validation"]["mse"] == [None, None]
    assert np.isnan(trainer.test()["mse"]).all()
    workdir.checkpoints.close()


def details(grads, params):
    return UpdateDetails(np.float32(1), grads, params)


def test_what_is_not_finite_is_named():
    fine, huge = {"a": np.ones(2), "b": np.ones(2)}, {"a": np.ones(2), "b": np.full(2, 1e30)}
    nan = {"a": np.ones(2), "b": np.array([1, np.nan])}
    assert divergence_of(3, np.nan, 1.0, details(nan, fine))[1:] == ("loss", "nan", "b")
    assert divergence_of(3, 1.0, np.inf, details(huge, fine))[1:] == ("grad_norm", "inf", "b")
    assert divergence_of(3, 1.0, 1.0, details(fine, nan))[1:] == ("params", "not finite", "b")


def test_many_seeds_are_not_all_named(tmp_path):
    progress = TrainingProgress.at_start(9)
    progress.diverged = [{"update": 3, "metric": "loss", "value": "nan", "group": "a"}] * 9
    message = str(failure(CONFIG, Lanes(tuple(range(9))), progress, tmp_path))
    assert "seed 4: loss" in message
    assert "seed 5: loss" not in message
    assert "and 4 more" in message


def test_a_finite_but_absurd_loss_gets_one_line(capsys):
    watch = LossWatch(Lanes((3, 4)))
    watch(10, [1.0, 2.0], np.array([1.0, 1.0]))
    watch(20, [7e6, None], np.array([0.0, 0.0]))
    watch(30, [8e6, 2.0], np.array([0.0, 0.0]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seed 3: the loss is 7e+06 at update 20")


def test_the_mean_of_finite_losses_is_finite():
    """Their sum is not, in float32."""
    losses = np.full((1, 2), 3e38, np.float32)
    assert _means(losses, np.array([2])) == [float(losses[0, 0])]
