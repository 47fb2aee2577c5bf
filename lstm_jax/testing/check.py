"""The checks, one a function."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lstm_jax.backends.select import has_layer_backend
from lstm_jax.options import IMPLEMENTATIONS
from lstm_jax.tbptt import tbptt
from lstm_jax.testing.problem import ROWS, Problem, T
from lstm_jax.testing.reference import quick_jit, reference_unroll, weighed, with_gradients
from lstm_jax.transforms.transform import apply, initial_state, needs_sequence
from lstm_jax.transforms.transform import check_cell as check_is_cell
from lstm_jax.types import PRNGKey, PyTree
from lstm_jax.unroll import unroll


def check_cell(cell: Any, *, x: PyTree = None, key: PRNGKey | None = None) -> None:
    """Hold a cell to all that the library promises for every cell; say nothing when it does.

    The cell is a value; a step keeps the state's structure, shapes and dtypes; a batch is its rows;
    lengths, masks, resets, reverse, chunks, rematerialisation and truncated gradients agree with a
    loop over single steps, in values and gradients, whatever is in padding; `vmap` over parameters,
    per-example gradients, forward mode, second derivatives, `checkpoint` and batches over several
    devices work. Run in float64 wherever the cell lets its parameters decide.

    Args:
      cell: a cell, or a transform of one. Random numbers are not drawn.
      x: one input without batch axes, for cells that have no `input_size`; its numbers do not
        matter.
      key: typed random key, for the parameters and inputs.

    Raises:
      AssertionError: when something does not hold, saying what.
      TypeError: when `cell` is no cell at all.

    Reference:
      Hughes (2000), *QuickCheck* (say what holds, draw the cases).

    >>> import lstm_jax as lj
    >>> check_cell(lj.TanhRNN(1, 2))
    """
    key = jax.random.key(0) if key is None else key
    check_is_cell("check_cell", cell)
    x = _example(cell, x)
    _check_value(cell)
    if not needs_sequence(cell):
        _check_state(cell, x)
    with jax.enable_x64(True):
        problem = Problem(cell, x, key)
        if needs_sequence(cell):
            _check_padding(problem)
            return
        for check in (
            _check_loop,
            _check_padding,
            _check_chunks,
            _check_transformations,
            _check_devices,
        ):
            check(problem)


def _example(cell: Any, x: PyTree) -> PyTree:
    """Shapes and dtypes of one input."""
    if x is not None:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), x)
    size = getattr(cell, "input_size", None)
    assert size is not None, f"{cell}: pass an input as x=, as the cell has no input_size"
    return jax.ShapeDtypeStruct((size,), jnp.float32)


def _check_value(cell: Any) -> None:
    try:
        hash(cell)
    except TypeError:
        raise AssertionError(f"{cell}: a cell is hashable, to be a static argument") from None
    params = cell.init(jax.random.key(0))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)), (
        f"{cell}: init gives a pytree of arrays; got {params}"
    )


def _check_state(cell: Any, x: PyTree) -> None:
    """As the cell is made, before anything is widened: its own dtypes have to stay."""
    params = cell.init(jax.random.key(0))
    for batch in ((2, ROWS), ()):
        state = initial_state(cell, params if batch else None, batch)
        zeros = jax.tree.map(lambda leaf, b=batch: jnp.zeros((*b, *leaf.shape), leaf.dtype), x)
        new, _ = jax.eval_shape(functools.partial(apply, cell), params, state, zeros)
        before, after = (
            jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) for each in (state, new)
        )
        assert jax.tree.leaves(before) == jax.tree.leaves(after), (
            f"{cell}: a step keeps shapes and dtypes of the state; {before} became {after}"
        )


def _masks() -> Sequence[tuple[str, np.ndarray]]:
    """Full rows, short rows and an empty one, and gaps."""
    lengths = np.array([T, 2, 0])
    gaps = np.random.default_rng(0).random((T, ROWS)) < 0.6
    return (
        ("a batch", np.ones((T, ROWS), bool)),
        ("lengths", np.arange(T)[:, None] < lengths),
        ("a mask", gaps),
    )


def _check_loop(problem: Problem) -> None:
    reset = np.random.default_rng(1).random((T, ROWS)) < 0.4
    for (name, mask), reverse in zip(_masks(), (False, True, False), strict=True):
        options: dict[str, Any] = {"mask": mask, "reset": reset, "reverse": reverse}

        def slow(params: PyTree, xs: PyTree, state: PyTree, options: Any = options) -> PyTree:
            return reference_unroll(problem.cell, params, xs, state, **options)

        fast = problem.unrolled(**options, implementation="scan")
        by_loop = with_gradients(slow)(problem.params, problem.xs, problem.state)
        problem.same(f"unroll with {name} and resets", problem.results(fast), by_loop)
        for implementation in IMPLEMENTATIONS:
            if has_layer_backend(problem.cell, implementation):
                at_once = problem.results(
                    problem.unrolled(**options, implementation=implementation)
                )
                problem.same(f"implementation={implementation!r} with {name}", at_once, by_loop)


def _check_padding(problem: Problem) -> None:
    for name, mask in _masks()[1:]:
        run = quick_jit(with_gradients(problem.unrolled(mask=mask)))

        def spoilt(leaf: jax.Array, mask: np.ndarray = mask) -> jax.Array:
            there = mask.reshape(mask.shape + (1,) * (leaf.ndim - mask.ndim))
            worst = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else -1
            return jnp.where(there, leaf, jnp.asarray(worst, leaf.dtype))

        got = run(problem.params, jax.tree.map(spoilt, problem.xs), problem.state)
        wanted = run(problem.params, problem.xs, problem.state)
        problem.same(f"unroll with {name} and NaN in padding", got, wanted)
        (final, _), _ = got
        if name == "lengths":
            last = [jax.tree.map(lambda leaf: leaf[-1], each) for each in (final, problem.state)]
            problem.same("a row of length 0", *last)


def _check_chunks(problem: Problem) -> None:
    mask = _masks()[2][1]
    whole = problem.results(problem.unrolled(mask=mask))

    def halves(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        first, second = (jax.tree.map(lambda a, c=cut: a[c], xs) for cut in (slice(2), slice(2, T)))
        middle, ys = unroll(problem.cell, params, first, state, mask=mask[:2])
        final, zs = unroll(problem.cell, params, second, middle, mask=mask[2:], start=2)
        return final, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, zs)

    def uncut(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        return tbptt(problem.cell, params, xs, state, k1=2, k2=T + 1, mask=mask)

    for name, run in {
        "a sequence in two chunks": halves,
        "truncated BPTT that goes back to the start": uncut,
        'remat="step"': problem.unrolled(mask=mask, remat="step"),
        "remat=2": problem.unrolled(mask=mask, remat=2),
    }.items():
        problem.same(name, problem.results(run), whole)


def _check_transformations(problem: Problem) -> None:
    run = problem.unrolled()
    both = with_gradients(run)
    plain = quick_jit(both)
    params, xs, state = problem.params, problem.xs, problem.state
    wanted = plain(params, xs, state)
    problem.same("no jit", run(params, xs, state), wanted[0])
    problem.same("checkpoint", problem.results(jax.checkpoint(run)), wanted)

    def row(tree: PyTree, k: Any, axis: int = 0) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[(slice(None),) * axis + (k,)], tree)

    def scaled(k: int) -> PyTree:
        return jax.tree.map(lambda leaf: leaf * (1 + k / 8), params)

    members = jax.tree.map(lambda *leaves: jnp.stack(leaves), scaled(0), scaled(1))
    ensemble = quick_jit(jax.vmap(both, in_axes=(0, None, None)))(members, xs, state)
    for k in range(2):
        problem.same("vmap over params", row(ensemble, k), plain(scaled(k), xs, state))

    alone = quick_jit(both)
    each = quick_jit(jax.vmap(both, in_axes=(None, 1, 0)))(params, xs, state)
    for k in range(ROWS):
        single = alone(params, row(xs, k, 1), row(state, k))
        problem.same("per-example gradients", row(each, k), single)
        problem.same(
            "a batch by its rows", (row(wanted[0][0], k), row(wanted[0][1], k, 1)), single[0]
        )

    # Along one direction: forward mode against reverse mode, second derivatives in both orders.
    def along(params: PyTree) -> jax.Array:
        return weighed(run(params, xs, state))

    leaves, structure = jax.tree.flatten(params)
    draw = np.random.default_rng(0).standard_normal
    v = structure.unflatten([jnp.asarray(draw(leaf.shape), leaf.dtype) for leaf in leaves])

    def slope(params: PyTree) -> jax.Array:
        return problem.dot(jax.grad(along)(params), v)

    def forward(params: PyTree) -> PyTree:
        value, slope = jax.jvp(along, (params,), (v,))
        return (value, slope), jax.jvp(jax.grad(along), (params,), (v,))[1]

    def reverse(params: PyTree) -> PyTree:
        second = jax.grad(slope)(params)
        return (along(params), slope(params)), second

    got, wanted = quick_jit(forward)(params), quick_jit(reverse)(params)
    problem.same("forward mode", got[0], wanted[0])
    problem.same("second derivatives, forward over reverse", got[1], wanted[1])


def _check_devices(problem: Problem) -> None:
    devices = jax.devices()[:2]
    if len(devices) < 2:
        return
    mesh = jax.make_mesh((2,), ("batch",), (jax.sharding.AxisType.Auto,), devices=devices)
    two = jax.tree.map(lambda a: a[:, :2], problem.xs), jax.tree.map(lambda a: a[:2], problem.state)
    run = quick_jit(problem.unrolled())
    on_one = run(problem.params, *two)
    split_xs = jax.device_put(two[0], NamedSharding(mesh, PartitionSpec(None, "batch")))
    split_state = jax.device_put(two[1], NamedSharding(mesh, PartitionSpec("batch")))
    params = jax.device_put(problem.params, NamedSharding(mesh, PartitionSpec()))
    problem.same("a batch over two devices", run(params, split_xs, split_state), on_one)
