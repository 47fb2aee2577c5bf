"""Sinks: where the records of a training go, besides metrics.jsonl."""
