"""Batches and metrics of tasks as NumPy arrays, each from one program."""

import functools

import jax
import numpy as np


@functools.cache
def drawn(task, count, split="train"):
    """A batch of a task."""
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), split, jax.random.key(0), count)
    return jax.tree.map(np.asarray, batch)


@functools.cache
def _metrics(task):
    return jax.jit(lambda outputs, batch: {**task.metrics(outputs, batch),
                                           "loss": task.loss(outputs, batch)})  # fmt: skip


def measured(task, outputs, batch):
    """The metrics and the loss of outputs, as floats."""
    return {name: float(value) for name, value in _metrics(task)(outputs, batch).items()}
