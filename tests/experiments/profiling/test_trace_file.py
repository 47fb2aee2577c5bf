"""Reading of profiler traces."""

import gzip
import json

import pytest

from experiments.profiling.trace_file import newest_trace, operation_seconds


def write(path, threads, events):
    meta = [
        {"ph": "M", "pid": pid, "name": kind, "args": {"name": name}}
        | ({"tid": tid} if tid else {})
        for pid, tid, kind, name in threads
    ]
    timed = [
        {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": ts, "dur": dur}
        for pid, tid, name, ts, dur in events
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        json.dump({"traceEvents": [*meta, *timed, {"ph": "s"}]}, file)


def test_on_a_cpu_operations_are_in_threads_of_xla(tmp_path):
    path = tmp_path / "plugins" / "profile" / "now" / "perfetto_trace.json.gz"
    threads = [
        (1, None, "process_name", "/host:CPU"),
        (1, 7, "thread_name", "python"),
        (1, 8, "thread_name", "tf_XLAEigen/1"),
        (1, 9, "thread_name", "tf_XLAEigen/2"),
    ]
    events = [
        (1, 7, "block_until_ready", 0, 9e6),
        (1, 8, "ThunkExecutor::Execute", 0, 5e6),
        (1, 8, "while.3", 1e6, 4e6),
        (1, 8, "dot.12", 2e6, 1e6),
        (1, 9, "dot.7.1", 0, 0.5e6),
    ]
    write(path, threads, events)
    assert newest_trace(tmp_path) == path
    assert operation_seconds(path) == pytest.approx({"while": 3.0, "dot": 1.5})


def test_on_a_gpu_operations_are_those_of_the_device(tmp_path):
    threads = [
        (1, None, "process_name", "/host:CPU"),
        (1, 8, "thread_name", "tf_XLATfrtGpuClient/1"),
        (2, None, "process_name", "/device:GPU:0"),
        (2, 3, "thread_name", "Stream #3"),
    ]
    write(tmp_path / "a", threads, [(1, 8, "launch", 0, 9e6), (2, 3, "gemm_fusion_dot_3", 0, 2e6)])
    assert operation_seconds(tmp_path / "a") == {"gemm_fusion_dot_3": 2.0}
    assert newest_trace(tmp_path) is None
