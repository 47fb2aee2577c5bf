"""Training on a mesh of devices gives the numbers of one device."""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from experiments.config.devices import DevicesConfig
from experiments.config.model import model_config
from experiments.config.optimizer import Adam
from experiments.config.schema import Config, EvalConfig, TrainConfig
from experiments.devices import mesh
from experiments.devices.mesh import Placement
from experiments.errors import UserError
from experiments.model import make_model
from experiments.run.what_runs import implementations
from experiments.tasks import Adding
from experiments.tasks.task import Batch
from experiments.training.train_step import TrainState, UpdateStats, make_train_functions
from lstm_jax.backends import ffi

T, B, H = 6, 8, 16


def config(data=None, hidden=1, **model):
    model = {"cell": "lstm", "hidden_size": H} | model
    return Config(
        task=Adding(length=T),
        model=model_config(model.pop("cell"), **model),
        optimizer=Adam(learning_rate=1e-2),
        train=TrainConfig(batch_size=B, log_every=10, eval_every=10, checkpoint_every=10),
        eval=EvalConfig(sequences=20, batch_size=10),
        devices=DevicesConfig(data=data, hidden=hidden),
        seeds=2,
    )


class Trained(NamedTuple):
    """Three updates on some devices, and the program that did them."""

    program: str
    states: TrainState
    stats: UpdateStats
    metrics: dict[str, jax.Array]


def backends_of(wanted):
    model = Placement.of(wanted).model(make_model(wanted.model, wanted.task))
    return implementations(model, wanted.task, (), wanted.train.batch_size)


def train(config, updates=3, evaluate=False):
    functions = make_train_functions(config, placement=Placement.of(config))
    active, states = np.ones(config.seeds, bool), functions.init()
    like = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), states
    )
    steps = jax.jit(lambda states: functions.train_steps((), states, active, updates))
    compiled = steps.lower(like).compile()
    states, stats = compiled(states)
    params = functions.evaluation_params(states)
    metrics = functions.evaluate((), "test", params) if evaluate else {}
    return Trained(compiled.as_text(), states, stats, metrics)


@functools.cache
def trained(data=1, hidden=1):
    return train(config(data, hidden))


def assert_close(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(("data", "hidden"), [(2, 1), (1, 2)])
def test_two_devices_compute_the_numbers_of_one(data, hidden):
    one, two = trained(), trained(data, hidden)
    assert_close(two[1:], one[1:])
    assert len(two.states.params.readout.kernel.devices()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("data", "hidden"), [(2, 1), (1, 2)])
def test_what_a_model_draws_is_the_same_on_two_devices(data, hidden):
    model = {"cell": "gru", "layers": 2, "dropout": 0.3, "recurrent_dropout": 0.2}
    one = train(config(**model), evaluate=True)
    two = train(config(data, hidden, **model), evaluate=True)
    assert_close(two[1:], one[1:])


@pytest.mark.slow
@pytest.mark.parametrize(("data", "hidden"), [(2, 1), (1, 2)])
def test_goals_on_training_sequences_are_the_same_on_two_devices(data, hidden):
    """Two of three updates are in the window, of which every device has all."""

    def with_window(wanted):
        window = dataclasses.replace(wanted.train, window=2 * B, stop_when="never")
        return train(dataclasses.replace(wanted, train=window))

    one, two = with_window(config()), with_window(config(data, hidden))
    assert_close(two[1:], one[1:])
    metrics = two.states.window.metrics
    assert all(np.isfinite(ring).all() and ring.shape == (2, 2) for ring in metrics.values())
    assert all(ring.sharding.is_fully_replicated for ring in metrics.values())


def test_each_device_draws_and_computes_its_own_part_of_the_batch():
    text = trained(data=2).program
    assert f"f32[2,{T},{B // 2}" in text or f"f32[{T},2,{B // 2}" in text
    assert re.search(rf"f32\[(2,{T},{B}|{T},2,{B}|{T},{B})\b", text) is None, "the whole batch"
    assert "all-reduce" in text, "the gradient is summed over the devices"


def loops_around(program, operation):
    """The number of loops around every operation of a name in a compiled program."""
    computation, called, found = "", {}, []
    for line in program.splitlines():
        if start := re.match(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$", line):
            computation = start[1]
        in_loop = " while(" in line
        for callee in re.findall(r"(?:calls|to_apply|body|condition)=%?([\w.-]+)", line):
            called.setdefault(callee, (computation, in_loop))
        if re.search(rf" {operation}(-start)?\(", line):
            found.append(computation)
    depths = []
    for at in found:
        depth = 0
        while at in called:
            at, in_loop = called[at]
            depth += in_loop
        depths.append(depth)
    return depths


@functools.cache
def trained_gru():
    """The scan unrolls it."""
    return train(config(data=2, cell="gru"))


def test_the_gradient_is_summed_once_an_update_and_not_at_every_time_step():
    depths = loops_around(trained_gru().program, "all-reduce")
    assert set(depths) == {1}, "a loop over updates, and none over time steps"


@pytest.mark.slow
def test_a_gradient_of_parts_is_that_of_the_batch():
    assert_close(trained_gru()[1:], train(config(cell="gru"))[1:])


@pytest.mark.slow
def test_a_scan_of_the_whole_batch_would_sum_at_every_time_step(monkeypatch):
    monkeypatch.setattr(mesh, "_is_native", lambda model, batch: True)
    wanted = dataclasses.replace(config(data=2, cell="gru"), seed=1)  # compiled anew
    assert 2 in loops_around(train(wanted).program, "all-reduce")


@pytest.mark.skipif(ffi.load() is not None, reason="needs the native backend")
def test_native_code_runs_on_each_part_and_its_gradient_is_summed_once():
    wanted = config(data=2)
    assert backends_of(wanted) == ("cpu",)
    text = trained(data=2).program
    calls = re.findall(r"= (.*?) custom-call\(.*target=\"lstm_jax_forward", text)
    assert calls, "the native call is there"
    assert all(f"f32[2,{T},{B // 2},{H}]" in call for call in calls)
    assert len(re.findall(r" all-reduce(?:-start)?\(", text)) <= 2


def test_hidden_units_are_sharded_with_what_the_optimizer_keeps_of_them():
    states = trained(1, hidden=2).states
    cell, readout = states.params
    shards = {name: a.sharding.shard_shape(a.shape) for name, a in cell._asdict().items()}
    assert shards == {
        "kernel": (2, 2, 2 * H), "recurrent_kernel": (2, H, 2 * H), "bias": (2, 2 * H),
    }  # fmt: skip
    assert readout.kernel.sharding.spec == P(None, "hidden")
    moments = [a for a in jax.tree.leaves(states.opt_state) if a.shape == cell.bias.shape]
    assert len(moments) == 2
    assert all(a.sharding.shard_shape(a.shape) == (2, 2 * H) for a in moments)
    # Native code would gather the kernels.
    wanted = config(data=1, hidden=2)
    assert backends_of(wanted) == ("scan",)


def test_sharding_by_columns_gathers_the_hidden_state_and_no_kernel():
    text = trained(1, hidden=2).program
    gathered = re.findall(r"= \(?f32\[([\d,]+)\]\S* all-gather", text)
    sizes = [np.prod([int(n) for n in shape.split(",")]) for shape in gathered]
    assert sizes
    assert max(sizes) <= 2 * B * H, "two lanes of a batch of hidden states"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"devices": DevicesConfig(data=64)}, r"devices: 64 x 1 are 64 devices, and there are 2"),
        ({"devices": DevicesConfig(hidden=3)}, r"devices: 1 x 3 are 3 devices, and there are 2"),
        ({"devices": DevicesConfig(data="all", hidden=3)}, r"devices.hidden: must divide the"),
        (
            {"devices": DevicesConfig("all"), "train": TrainConfig(batch_size=9)},
            r"train.batch_size: must be a multiple of the 2 devices of devices.data; got 9",
        ),
        (
            {"devices": DevicesConfig(hidden=2), "model": model_config("lstm", hidden_size=9)},
            r"model.hidden_size: must be a multiple of devices.hidden, 2; got 9",
        ),
    ],
)
def test_a_config_that_does_not_fit_the_devices(changed, message):
    with pytest.raises(UserError, match=message):
        Placement.of(dataclasses.replace(config(), **changed))


def devices_of(*processes):
    return [SimpleNamespace(process_index=p, device_kind="cpu", id=i)
            for i, p in enumerate(processes)]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "hidden", "ids"),
    [(None, 1, [0, 2]), (None, 2, [0, 1, 2, 3]), (4, 1, [0, 1, 2, 3]), (2, 1, [0, 2]),
     ("all", 1, [0, 1, 2, 3])],
)  # fmt: skip
def test_every_process_has_as_many_devices(data, hidden, ids):
    found = mesh._found(DevicesConfig(data, hidden), devices_of(0, 0, 1, 1), 2)
    assert [device.id for device in found] == ids


@pytest.mark.parametrize(
    ("data", "devices", "message"),
    [
        (3, devices_of(0, 0, 1, 1), "each of the 2 processes must have as many devices; got 3 x 1"),
        (4, devices_of(0, 1, 1, 1), "4 devices are 2 in each of 2 processes, and one has 1"),
    ],
)
def test_processes_that_cannot_have_as_many_devices(data, devices, message):
    with pytest.raises(UserError, match=message):
        mesh._found(DevicesConfig(data), devices, 2)


def test_a_batch_that_cannot_be_divided_stays_whole():
    placement = Placement.of(config(data=2))
    batch = Batch(jnp.ones((T, 3, 2)), {"a": jnp.ones((1, 4))}, jnp.ones(4, jnp.int32))
    inputs, targets, lengths = jax.jit(placement.shard_batch)(batch)
    assert inputs.sharding.shard_shape(inputs.shape) == (T, 3, 2)
    assert targets["a"].sharding.shard_shape((1, 4)) == (1, 2)
    assert lengths.sharding.shard_shape((4,)) == (2,)


@pytest.mark.parametrize(
    ("platform", "used", "line"),
    [
        ("gpu", 1, "training on 1 of 2 devices; --devices.data all trains on all of them"),
        ("gpu", 2, None),
        ("cpu", 1, None),
    ],
)
def test_devices_that_do_not_train_are_named(platform, used, line):
    devices = np.array([[SimpleNamespace(platform=platform)]] * used)
    assert Placement(SimpleNamespace(devices=devices)).unused() == line


def test_arrays_go_to_all_devices_and_back():
    placement = Placement.of(config(data=2))
    tree = {"a": np.arange(3), "b": jnp.ones(2)}
    whole = placement.replicate(tree)
    assert len(whole["a"].devices()) == len(whole["b"].devices()) == 2
    assert_close(placement.to_host(whole), tree)


ON_EIGHT = """
import json
import sys
sys.path.insert(0, "{root}")
from tests.experiments.devices.test_mesh import config, train
found = {{}}
for data, hidden in [(1, 1), (2, 1), (4, 1), (8, 1), (4, 2), (2, 4)]:
    of = train(config(data, hidden), updates=20, evaluate=True)
    assert len(of.states.params.cell.kernel.devices()) == data * hidden
    found[f"{{data}} x {{hidden}}"] = of.stats.loss.tolist(), of.metrics["mse"].tolist()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_curve_is_the_same_on_one_two_four_and_eight_devices():
    root = os.path.abspath(f"{__file__}/../../../..")
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    result = subprocess.run(
        [sys.executable, "-c", ON_EIGHT.format(root=root)],
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    losses, mse = found.pop("1 x 1")
    assert len(losses[0]) == 20
    for name, (on_many, their_mse) in found.items():
        np.testing.assert_allclose(on_many, losses, rtol=1e-3, err_msg=name)
        np.testing.assert_allclose(their_mse, mse, rtol=1e-3, err_msg=name)
