"""Benchmarks of time and memory: this library beside other LSTM libraries."""
