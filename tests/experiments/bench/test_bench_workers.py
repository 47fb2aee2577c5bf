"""The workers: their order, their measurements, and their implementations."""

import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import lstm_jax as lj
from experiments.bench import coordinator, results, timing, worker
from experiments.bench.cases import Case
from experiments.bench.coordinator import measure
from experiments.bench.flax_layers import NNX, Linen
from experiments.bench.implementation import Implementation, own_implementation
from experiments.bench.jax_peers import Equinox, Flax, FlaxNNX, Haiku, Keras, zeros
from experiments.bench.numpy_peer import NumPy
from experiments.bench.peers import find_implementation, peer_implementations
from experiments.bench.runner import Unavailable
from experiments.bench.suites import make_suite
from experiments.bench.tables import tables
from experiments.bench.worker_process import WorkerEnded

CASES = (Case("tiny", 2, 5, 3, 4), Case("wider", 3, 4, 2, 6))
TWO = replace(make_suite("cpu"), cases=CASES, ceiling=())


class Scripted:
    """A replacement for `WorkerProcess` with given answers, which logs all calls."""

    log: list
    answers: dict

    def __init__(self, implementation, device, threads):
        self.name = implementation.name
        self.log.append(("start", self.name, threads))

    def begin(self):
        return {"versions": {}, "device": "cpu"}

    def ask(self, request):
        self.log.append((self.name, request["quantity"], request["case"]["name"]))
        answer = self.answers.get(self.log[-1], {"values": {"seconds": {"min": 1, "median": 2}}})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self, *, at_once=False):
        self.log.append(("end", self.name, at_once))


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(Scripted, "log", [], raising=False)
    monkeypatch.setattr(Scripted, "answers", {}, raising=False)
    monkeypatch.setattr(coordinator, "WorkerProcess", Scripted)
    return Scripted


def requests(log):
    return [entry for entry in log if entry[0] not in ("start", "end")]


def test_workers_take_turns(scripted):
    suite = replace(TWO, cases=CASES[:1])
    both = [own_implementation("default"), *peer_implementations(["flax"], "cpu")]
    turns = []
    measure(suite, both, 2, 4, turns.append)
    once = [(n, q, "tiny") for q in ("forward", "training") for n in ("default", "flax")]
    assert requests(scripted.log) == once * 2
    assert [entry for entry in scripted.log if entry[0] == "start"] == [
        ("start", "default", 4), ("start", "flax", 4)
    ]  # fmt: skip
    assert [(turn.round, turn.done, turn.total) for turn in turns][-1] == (2, 7, 8)


def test_a_job_that_ended_its_worker_is_not_repeated_and_other_jobs_are(scripted):
    broken = ("flax", "forward", "tiny")
    scripted.answers[broken] = WorkerEnded("boom")
    scripted.answers["default", "training", "wider"] = {"unavailable": "too wide"}
    found = measure(
        TWO,
        [own_implementation("default"), *peer_implementations(["flax"], "cpu")],
        3,
        1,
        lambda turn: None,
    )
    missing = {(*job[:2], job[2].name): tuple(reason) for job, reason in found.not_measured.items()}
    assert missing == {
        broken: ("failed", "boom"),
        ("default", "training", "wider"): ("skipped", "too wide"),
    }
    assert scripted.log.count(broken) == 1
    assert scripted.log.count(("start", "flax", 1)) == 2
    assert scripted.log.count(("flax", "training", "wider")) == 3


def test_every_number_of_threads_has_its_own_process_and_ceiling(scripted):
    suite = make_suite("scaling", 6)
    measure(suite, [own_implementation("default")], 1, 6, lambda turn: None)
    starts = {entry for entry in scripted.log if entry[0] == "start"}
    assert starts == {("start", n, t) for n in ("ceiling", "default") for t in (1, 2, 4, 6)}


def test_memory_is_measured_in_new_processes_relative_to_keeping_everything(scripted):
    suite = replace(make_suite("memory"), cases=make_suite("memory").cases[:3])
    both = [own_implementation("default"), *peer_implementations(["flax"], "cpu")]
    for name, growth in (("none", 8.0), ("step", 2.0), ("64", 1.0)):
        values = {"growth": {"min": growth, "median": growth}}
        scripted.answers["default", "memory", name] = {"values": values}
    scripted.answers["flax", "memory", "none"] = {
        "values": {"growth": {"min": 12.0, "median": 12.0}}
    }
    found = measure(suite, both, 1, 1, lambda turn: None)
    assert len(requests(scripted.log)) == 4
    assert scripted.log.count(("end", "default", False)) == 3
    result = results.build(suite, both, found, {"machine": None, "rounds": 1})
    growth = tables(result)[0]
    assert growth.headings == ["none", "step", "64"]
    assert growth.rows == [
        ("lstm_jax, default", ["1.00", "0.25", "0.12"]), ("flax", ["1.50", "–", "–"])
    ]  # fmt: skip


def test_a_library_that_is_not_installed_is_unavailable():
    missing = Implementation("x", "x", "jax_peers:Flax", "", "", "no_such_library")
    with pytest.raises(Unavailable, match="not installed"):
        worker.load_runner(missing, "cpu", 1)


def test_no_implementation_is_measured_twice():
    names = ("default", "default, tuned malloc", "scan", "parallel")
    assert make_suite("cpu").own_implementations(names) == names[:3]
    assert make_suite("gpu").own_implementations(names) == ("default", "scan")
    assert make_suite("stream").own_implementations(("default", "scan")) == ("default",)
    assert make_suite("layers").own_implementations(names) == ("default", "linen", "nnx")


def test_peers_are_not_ours():
    assert not find_implementation("torch, tuned malloc").ours
    assert find_implementation("scan") == own_implementation("scan")


@pytest.mark.parametrize(
    ("package", "runner"),
    [
        ("flax", Flax),
        ("flax", FlaxNNX),
        ("flax", Linen),
        ("flax", NNX),
        ("haiku", Haiku),
        ("equinox", Equinox),
        ("keras", Keras),
    ],
)
def test_the_last_output_of_a_network_is_its_final_state(package, runner, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(package)
    params, xs, apply = runner(package, "cpu", 1).network(CASES[0])
    final, outputs = apply(params, xs)
    last = outputs[:, -1] if package == "keras" else outputs[-1]
    assert xs.size == outputs.size // 4 * 3
    np.testing.assert_array_equal(last, final)


def test_a_runner_without_a_cell_has_no_single_step():
    with pytest.raises(Unavailable, match="measured on sequences alone"):
        FlaxNNX("flax-nnx", "cpu", 1).cell(CASES[0])


def test_states_are_float32_for_any_default_dtype():
    with jax.enable_x64(True):
        assert zeros(CASES[0]).dtype == np.float32


def test_peers_in_jax_have_tuned_malloc_if_this_library_has():
    tuned = {"flax, tuned malloc", "torch, tuned malloc"}
    for device, tuned_jax, expected in (
        ("cpu", True, tuned),
        ("cpu", False, tuned - {"flax, tuned malloc"}),
        ("gpu", True, set()),
    ):
        names = {
            peer.name
            for peer in peer_implementations(["flax", "torch"], device, tuned_jax=tuned_jax)
        }
        assert names - {"flax", "torch"} == expected


def test_the_numpy_step_equals_lstm_step():
    case = Case("step", 2, 1, 3, 4)
    step = NumPy("numpy", "cpu", 1).prepare("step", case)
    inside = dict(zip(step.__code__.co_freevars, step.__closure__, strict=True))
    kernels = [inside[name].cell_contents for name in ("kernel", "recurrent_kernel", "bias")]
    zeros = np.zeros((2, 4), np.float32)
    state = lj.LSTMState(zeros, zeros)
    for _ in range(3):
        step()
        state = lj.lstm_step(lj.LSTMParams(*kernels), state, inside["x"].cell_contents)
    np.testing.assert_allclose(inside["h"].cell_contents, state.h, atol=1e-6)


def test_short_calls_are_timed_in_groups():
    calls = []
    found = timing.seconds(lambda: calls.append(time.sleep(1e-4)), budget=0.01)
    assert found["calls"] == len(calls) - 2
    assert found["calls"] > 3 * timing.LEAST_CALLS
    assert 1e-4 <= found["min"] <= found["median"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be reset")
def test_memory_growth_leaves_out_earlier_peaks():
    def allocate(mib):
        return lambda: np.ones(mib * 2**20, np.int8).sum()

    allocate(128)()
    assert 30 < timing.memory_growth(allocate(32)) < 60
