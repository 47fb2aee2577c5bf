"""The slow reference: a Python loop over single steps."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.options import Padding
from lstm_jax.transforms.transform import apply, initial_state, output_of
from lstm_jax.types import PyTree


def reference_unroll(
    cell: Any,
    params: PyTree,
    xs: PyTree,
    state: PyTree,
    *,
    mask: Any,
    reset: Any = None,
    reverse: bool = False,
    padding: Padding = "zero",
) -> tuple[PyTree, PyTree]:
    """What `unroll` stands for, as slow as it can be: row by row, only the steps that are there.

    Args:
      cell: a cell that goes step by step and draws no random numbers.
      params: the cell's parameters.
      xs: inputs, leaves ``[T, ...]``, with at least one step.
      state: state before the first step.
      mask: true where a step is there ``[T, ...]``, NumPy.
      reset: true where a row starts anew ``[T, ...]``, NumPy, or None.
      reverse: run from the last step to the first.
      padding: what to show at masked steps.

    Returns:
      ``(final, outputs)`` as `unroll`.

    >>> import lstm_jax as lj
    >>> cell = lj.LSTM(3, 5)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))
    >>> mask = np.ones((7, 2), bool)
    >>> final, outputs = reference_unroll(cell, params, xs, cell.initial_state((2,)), mask=mask)
    >>> outputs.shape
    (7, 2, 5)
    """
    length, *batch = mask.shape
    step = jax.jit(functools.partial(apply, cell))
    finals, columns = [], []
    for row in np.ndindex(*batch):
        s = jax.tree.map(lambda leaf, row=row: leaf[row], state)
        at = [jax.tree.map(lambda leaf, t=t, row=row: leaf[(t, *row)], xs) for t in range(length)]
        nothing = jax.tree.map(jnp.zeros_like, at[0])
        held, shown = output_of(cell, s, nothing), {}
        for t in reversed(range(length)) if reverse else range(length):
            if mask[(t, *row)]:
                if reset is not None and reset[(t, *row)]:
                    s = jax.tree.map(
                        lambda a, b: a.astype(b.dtype), initial_state(cell, params, ()), s
                    )
                s, held = step(params, s, at[t])
                shown[t] = held
            elif padding == "raw":
                shown[t] = step(params, s, nothing)[1]
            else:
                shown[t] = held if padding == "hold" else jnp.zeros_like(held)
        finals.append(s)
        columns.append(jnp.stack([shown[t] for t in range(length)]))

    def batched(*leaves: Any, axis: int) -> Any:
        stacked = jnp.stack(leaves, axis=axis)
        return stacked.reshape(*stacked.shape[:axis], *batch, *stacked.shape[axis + 1 :])

    final = jax.tree.map(functools.partial(batched, axis=0), *finals)
    return final, batched(*columns, axis=1)


# What takes most of XLA's time on a CPU, and gains a program nothing that runs a few times.
_HURRIED = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """Of these options, those that this XLA knows."""
    if jax.default_backend() != "cpu":
        return {}

    def known(name: str) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options={name: _HURRIED[name]}).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {name: value for name, value in _HURRIED.items() if known(name)}


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` that compiles in a hurry, for programs that run only a few times.

    >>> int(quick_jit(lambda x: x + 1)(1))
    2
    """
    return jax.jit(function, compiler_options=_compiler_options())


def weighed(given: PyTree) -> jax.Array:
    """A scalar of everything in a tree, each number with a weight of its own: no gradient cancels.

    >>> bool(weighed((jnp.ones(2), jnp.ones(3))) == weighed((jnp.ones(3), jnp.ones(2))))
    False
    """
    total = jnp.zeros((), jnp.result_type(float))
    for k, leaf in enumerate(jax.tree.leaves(given)):
        weight = np.random.default_rng(k).standard_normal(leaf.shape)
        total += jnp.sum(weight * jnp.sin(leaf.astype(total.dtype)))
    return total


def with_gradients(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives what a run gives, and the gradients of that, `weighed`.

    >>> given, _ = with_gradients(lambda params, xs, state: xs)(1.0, jnp.ones(2), 1.0)
    >>> given.tolist()
    [1.0, 1.0]
    """

    def of(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        given = run(params, xs, state)
        return weighed(given), given

    def both(*arguments: PyTree) -> PyTree:
        every = jax.value_and_grad(of, argnums=(0, 1, 2), allow_int=True, has_aux=True)
        (_, given), grads = every(*arguments)
        return given, grads

    return both
