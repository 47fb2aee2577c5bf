"""The profile of a config: its training is compiled and run for some updates; nothing is saved."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm_jax as lj
from experiments.bench.ceiling import matrix_product
from experiments.bench.timing import peak_mib, seconds
from experiments.config.schema import Config
from experiments.model import make_model
from experiments.profiling.flops import product_flops
from experiments.profiling.trace_file import newest_trace, operation_seconds
from experiments.run.atomic_write import write_atomic
from experiments.run.summary import describe_task
from experiments.training.data import load_data
from experiments.training.keys import data_key
from experiments.training.train_step import make_train_functions
from lstm_jax.types import PyTree

UPDATES = 50
CEILING_SIZE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
"""Sizes of the square matrices whose product gives the ceiling."""
CEILING_SECONDS = 0.5


class Phases:
    """The seconds of each part of a profile, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def profile_config(config: Config, updates: int, out: Path) -> dict[str, Any]:
    """Measure a training for some updates, and write a trace and profile.json.

    Args:
      config: the config.
      updates: number of updates to time, after one dispatch that is not timed; they run in
        dispatches of ``train.log_every``, as in a training.
      out: the folder for the files.

    Returns:
      What profile.json has: plain values, times in seconds.

    Raises:
      UserError: if the data is missing or too small.
    """
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    parts = Phases()
    with parts.phase("load data"):
        data = load_data(config)
    functions = make_train_functions(config)
    per_dispatch = min(config.train.log_every, updates)
    dispatches = max(1, updates // per_dispatch)
    with parts.phase("initialise"):
        states = jax.block_until_ready(functions.init())
    active = jnp.ones(config.seeds, bool)

    def train(data: PyTree, states: Any, active: Any) -> Any:
        return functions.train_steps(data, states, active, per_dispatch)

    compiled = _compiled(jax.jit(train, donate_argnums=1), (data, states, active), parts)
    with parts.phase("warm up"):
        states, _ = jax.block_until_ready(compiled(data, states, active))
    timed = Phases()
    for _ in range(dispatches):
        with timed.phase("all"):
            with timed.phase("host"):
                results = compiled(data, states, active)
            with timed.phase("device"):
                states, stats = jax.block_until_ready(results)
            with timed.phase("host"):
                jax.tree.map(np.asarray, stats)
    parts.seconds["updates: host"] = timed.seconds["host"]
    parts.seconds["updates: device"] = timed.seconds["device"]
    with (
        parts.phase("profile: trace file"),
        jax.profiler.trace(str(out), create_perfetto_trace=True),
    ):
        states, _ = jax.block_until_ready(compiled(data, states, active))
    with parts.phase("evaluation: compile"):
        evaluate = jax.jit(lambda data, params: functions.evaluate(data, "validation", params))
        evaluated = evaluate.lower(data, states.params).compile()
    with parts.phase("evaluation: warm up"):
        jax.block_until_ready(evaluated(data, states.params))
    with parts.phase("evaluation: run"):
        jax.block_until_ready(evaluated(data, states.params))
    with parts.phase("profile: matrix product"):
        size = CEILING_SIZE.get(jax.default_backend(), 2048)
        ceiling = 2 * size**3 / seconds(matrix_product(size), CEILING_SECONDS)["min"]
    with parts.phase("profile: count"):
        flops = update_flops(config, data)
    total = time.perf_counter() - began

    done = dispatches * per_dispatch
    per_update = timed.seconds["all"] / done
    steps, sequences = _sizes(config, data)
    per_evaluation = parts.seconds["evaluation: run"] / config.train.eval_every
    trace = newest_trace(out)
    profile = {
        "task": describe_task(config.task),
        "model": repr(make_model(config.model, config.task).cell),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(states.params)) // config.seeds,
        "seeds": config.seeds,
        "batch": {"sequences": sequences, "steps": steps},
        "device": {"backend": jax.default_backend(), "kind": jax.devices()[0].device_kind,
                   "count": jax.device_count()},
        "implementations": implementations(config, data),
        "updates": done,
        "updates_per_dispatch": per_dispatch,
        "seconds": {**parts.seconds, "other": total - sum(parts.seconds.values())},
        "total_seconds": total,
        "host_share": timed.seconds["host"] / timed.seconds["all"],
        "evaluation_share": per_evaluation / (per_evaluation + per_update),
        "updates_per_second": 1 / per_update,
        "sequences_per_second": sequences * config.seeds / per_update,
        "steps_per_second": steps * sequences * config.seeds / per_update,
        "flops_per_update": flops,
        "flops_by_xla": _xla_flops(compiled),
        "flops_per_second": flops / per_update,
        "ceiling": {"flops_per_second": ceiling, "size": size},
        "ceiling_share": flops / per_update / ceiling,
        "memory_mib": memory(compiled),
        "operations": {} if trace is None else operation_seconds(trace),
        "trace": None if trace is None else str(trace),
    }  # fmt: skip
    write_atomic(out / "profile.json", json.dumps(profile, indent=2) + "\n")
    return profile


def update_flops(config: Config, data: PyTree) -> int:
    """The operations of the matrix products in one update of all seeds, evaluation left out.

    They are those of the plain scan that keeps all of its steps: a backend in C++ is a call whose
    operations are not seen, and what `remat` computes again is not counted.

    Args:
      config: the config.
      data: the data of its task.
    """
    model = dataclasses.replace(config.model, implementation="scan", remat=None)
    functions = make_train_functions(dataclasses.replace(config, model=model))
    states = jax.eval_shape(functions.init)
    active = jax.ShapeDtypeStruct((config.seeds,), bool)
    return product_flops(
        lambda data, states, active: functions.train_steps(data, states, active, 1),
        data, states, active,
    )  # fmt: skip


def implementations(config: Config, data: PyTree) -> dict[str, str]:
    """The backend that runs each cell of a config, and why the others do not, as text by cell."""
    model = make_model(config.model, config.task)
    xs = jax.eval_shape(lambda: model.encode(_batch(config, data).inputs))
    options: Any = {"implementation": model.implementation, "remat": model.remat}
    found = lj.explain(model.cell, xs, **options)
    texts = [repr(dataclasses.replace(found, selections=(each,))) for each in found.selections]
    return {text.partition("\n")[0]: text.partition("\n")[2] for text in texts}


def memory(compiled: Any) -> dict[str, float | None]:
    """MiB of a compiled program, and the peaks of this process and of the device.

    Args:
      compiled: the program of a dispatch.

    Returns:
      Values by name, None where the platform does not tell.
    """
    analysis = compiled.memory_analysis()
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")

    def mib(size: int | None) -> float | None:
        return None if size is None else size / 2**20

    names = {"arguments": "argument", "outputs": "output", "temporaries": "temp"}
    return {
        **{k: mib(getattr(analysis, f"{v}_size_in_bytes", None)) for k, v in names.items()},
        "peak of the process": peak_mib(),
        "peak of the device": mib(peak),
    }


def _compiled(jitted: Any, arguments: Any, parts: Phases) -> Callable[..., Any]:
    with parts.phase("trace"):
        traced = jitted.trace(*arguments)
    with parts.phase("lower"):
        lowered = traced.lower()
    with parts.phase("compile"):
        return lowered.compile()


def _batch(config: Config, data: PyTree) -> Any:
    key = data_key("train", config.seed)
    return config.task.sample(data, "train", key, config.train.batch_size)


def _sizes(config: Config, data: PyTree) -> tuple[int, int]:
    """Steps of a sequence, and sequences of an update of one seed."""
    inputs = jax.eval_shape(lambda: _batch(config, data).inputs)
    return inputs.shape[0], inputs.shape[1] * config.train.accumulate


def _xla_flops(compiled: Any) -> float | None:
    """What XLA counts in a dispatch: the body of a loop once, and nothing in calls of C++."""
    analysis = compiled.cost_analysis()
    flops = None if not analysis else analysis.get("flops")
    return flops if flops is None or flops >= 0 else None
