"""The metrics file: records survive a crash, and a resumed run rewinds them."""

from experiments.run.metrics_file import MetricsFile


def test_a_truncated_line_is_ignored_and_records_are_rewound(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    assert metrics.read() == []
    metrics.append({"update": 1})
    metrics.append({"update": 2})
    metrics.path.write_text(metrics.path.read_text() + '{"upd')
    assert metrics.read() == [{"update": 1}, {"update": 2}]
    metrics.rewind(1)
    assert metrics.read() == [{"update": 1}]
