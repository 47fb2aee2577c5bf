"""The reference for `unroll`, a Python loop over single steps, and what tests compute with."""

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
    """The reference for `unroll`: a Python loop over rows, and over the valid steps of each.

    Args:
      cell: a cell with single steps that draws no random numbers.
      params: the cell's parameters.
      xs: inputs, leaves ``[T, ...]``, with at least one step.
      state: state before the first step.
      mask: true at valid steps ``[T, ...]``, NumPy.
      reset: true where a row is reset ``[T, ...]``, NumPy, or None.
      reverse: unroll from the last step to the first.
      padding: the outputs at masked steps, as in `unroll`.

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
        zeros = jax.tree.map(jnp.zeros_like, at[0])
        last, ys = output_of(cell, s, zeros), {}
        for t in reversed(range(length)) if reverse else range(length):
            if mask[(t, *row)]:
                if reset is not None and reset[(t, *row)]:
                    s = jax.tree.map(
                        lambda a, b: a.astype(b.dtype), initial_state(cell, params, ()), s
                    )
                s, last = step(params, s, at[t])
                ys[t] = last
            elif padding == "raw":
                ys[t] = step(params, s, zeros)[1]
            else:
                ys[t] = last if padding == "hold" else jnp.zeros_like(last)
        finals.append(s)
        columns.append(jnp.stack([ys[t] for t in range(length)]))

    def batched(*leaves: Any, axis: int) -> Any:
        stacked = jnp.stack(leaves, axis=axis)
        return stacked.reshape(*stacked.shape[:axis], *batch, *stacked.shape[axis + 1 :])

    final = jax.tree.map(functools.partial(batched, axis=0), *finals)
    return final, batched(*columns, axis=1)


# Compile quickly rather than well: on a CPU these passes take most of XLA's time.
_QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """Those of the options that the installed XLA supports."""
    if jax.default_backend() != "cpu":
        return {}

    def supported(name: str) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options={name: _QUICK[name]}).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {name: value for name, value in _QUICK.items() if supported(name)}


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` with less optimisation, for programs that run only a few times.

    >>> int(quick_jit(lambda x: x + 1)(1))
    2
    """
    return jax.jit(function, compiler_options=_compiler_options())


def weighed(tree: PyTree) -> jax.Array:
    """The sum of the sines of all numbers in a tree, with random weights: no gradients cancel.

    >>> bool(weighed((jnp.ones(2), jnp.ones(3))) == weighed((jnp.ones(3), jnp.ones(2))))
    False
    """
    total = jnp.zeros((), jnp.result_type(float))
    for k, leaf in enumerate(jax.tree.leaves(tree)):
        weight = np.random.default_rng(k).standard_normal(leaf.shape)
        total += jnp.sum(weight * jnp.sin(leaf.astype(total.dtype)))
    return total


def with_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns the result of `function` and its gradients.

    Args:
      function: a function of parameters, inputs and state.

    Returns:
      A function of the same arguments that returns the result, and the gradients of the result,
      `weighed`, with respect to all three.

    >>> result, _ = with_gradients(lambda params, xs, state: xs)(1.0, jnp.ones(2), 1.0)
    >>> result.tolist()
    [1.0, 1.0]
    """

    def loss(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        result = function(params, xs, state)
        return weighed(result), result

    def both(*arguments: PyTree) -> PyTree:
        grad = jax.value_and_grad(loss, argnums=(0, 1, 2), allow_int=True, has_aux=True)
        (_, result), grads = grad(*arguments)
        return result, grads

    return both
