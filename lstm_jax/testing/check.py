"""`check_cell`, one function for each check."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lstm_jax.backends.select import has_layer_backend
from lstm_jax.options import IMPLEMENTATIONS
from lstm_jax.tbptt import tbptt
from lstm_jax.testing.comparison import ROWS, Comparison, T, dot
from lstm_jax.testing.reference import quick_jit, reference_unroll, weighed, with_gradients
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import Transform, apply, draws, initial_state, needs_sequence
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import PRNGKey, PyTree
from lstm_jax.unroll import unroll


def check_cell(cell: Any, *, x: PyTree = None, key: PRNGKey | None = None) -> None:
    """Test a cell for all properties that the library's cells have.

    The cell has value semantics; a step keeps the shapes and dtypes of the state; the rows of a
    batch are independent; lengths, masks, resets, reverse, chunks, rematerialisation and truncated
    gradients agree with a loop over single steps, in values and gradients, whatever the padding
    contains; `vmap` over parameters, per-example gradients, forward mode, second derivatives,
    `checkpoint` and batches over several devices work. It computes in float64 where the cell
    follows the dtype of its parameters.

    Args:
      cell: a cell, or a transform of one. No random numbers are drawn in its steps.
      x: one input without batch axes, for cells without `input_size`; its values do not matter.
      key: typed random key, for the parameters and inputs.

    Raises:
      AssertionError: when a check fails, with the cell, the check, and both numbers.
      TypeError: when `cell` is not a cell, or does not support a transformation of JAX.

    Reference:
      Hughes (2000), *QuickCheck* (state properties, draw the cases).

    >>> import lstm_jax as lj
    >>> check_cell(lj.TanhRNN(1, 2))
    """
    key = jax.random.key(0) if key is None else key
    check_is_cell("check_cell", cell)
    x = _example(cell, x)
    _check_value_semantics(cell)
    if not needs_sequence(cell):
        _check_state(cell, x)
        _check_draws(cell, x)
    with jax.enable_x64(True):
        comparison = Comparison(cell, x, key)
        if needs_sequence(cell):
            _check_padding(comparison)
            return
        for check in (
            _check_against_reference,
            _check_padding,
            _check_chunks,
            _check_transformations,
            _check_devices,
        ):
            check(comparison)


def _example(cell: Any, x: PyTree) -> PyTree:
    """Shapes and dtypes of one input."""
    if x is not None:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), x)
    size = getattr(cell, "input_size", None)
    if size is None:
        raise AssertionError(f"{cell}: pass an input as x=, as the cell has no input_size")
    return jax.ShapeDtypeStruct((size,), jnp.float32)


def _check_value_semantics(cell: Any) -> None:
    try:
        hash(cell)
    except TypeError:
        raise AssertionError(
            f"{cell}: a cell must be hashable, as it is a static argument of jit"
        ) from None
    params = cell.init(jax.random.key(0))
    if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)):
        raise AssertionError(f"{cell}: init must return a pytree of arrays; got {params}")


def _check_state(cell: Any, x: PyTree) -> None:
    """Before parameters are cast to float64: a step keeps the cell's own dtypes."""
    params = cell.init(jax.random.key(0))
    for batch in ((2, ROWS), ()):
        state = initial_state(cell, params if batch else None, batch)
        zeros = jax.tree.map(lambda leaf, b=batch: jnp.zeros((*b, *leaf.shape), leaf.dtype), x)
        new, _ = jax.eval_shape(functools.partial(apply, cell), params, state, zeros)
        # The leaves alone: a plain tuple may become a NamedTuple.
        before, after = (
            jax.tree.leaves(jax.eval_shape(lambda tree: tree, each)) for each in (state, new)
        )
        chex.assert_trees_all_equal_shapes_and_dtypes(
            before,
            after,
            custom_message=f"{cell}: a step must keep the shapes and dtypes of the state; it"
            f" changed {before} to {after}",
        )


def _check_draws(cell: Any, x: PyTree) -> None:
    """A transform that draws random numbers declares it: Flax layers pass a key only then."""
    if draws(cell) or not isinstance(cell, Transform) or needs_sequence(cell):
        return
    params = cell.init(jax.random.key(0))
    state = initial_state(cell, params, ())
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), x)
    rng = StepRng(jax.random.key(1), jnp.asarray(0, jnp.int32))
    without, drawn = (apply(cell, params, state, ones, each) for each in (None, rng))
    chex.assert_trees_all_equal(
        drawn,
        without,
        custom_message=f"{cell}: apply draws random numbers; set draws: ClassVar[bool] = True",
    )


def _masks() -> Sequence[tuple[str, np.ndarray]]:
    """Full rows; short rows and an empty one; gaps."""
    lengths = np.array([T, 2, 0])
    gaps = np.random.default_rng(0).random((T, ROWS)) < 0.6
    return (
        ("a batch", np.ones((T, ROWS), bool)),
        ("lengths", np.arange(T)[:, None] < lengths),
        ("a mask", gaps),
    )


def _check_against_reference(comparison: Comparison) -> None:
    reset = np.random.default_rng(1).random((T, ROWS)) < 0.4
    for (name, mask), reverse in zip(_masks(), (False, True, False), strict=True):
        options: dict[str, Any] = {"mask": mask, "reset": reset, "reverse": reverse}

        def reference(params: PyTree, xs: PyTree, state: PyTree, options: Any = options) -> PyTree:
            return reference_unroll(comparison.cell, params, xs, state, **options)

        scan = comparison.unroll_with(**options, implementation="scan")
        expected = with_gradients(reference)(comparison.params, comparison.xs, comparison.state)
        comparison.assert_close(
            f"unroll with {name} and resets", comparison.evaluate(scan), expected
        )
        for implementation in IMPLEMENTATIONS:
            if has_layer_backend(comparison.cell, implementation):
                function = comparison.unroll_with(**options, implementation=implementation)
                with warnings.catch_warnings():  # one of its cells may have no such backend
                    warnings.filterwarnings("ignore", ".*the scan runs", UserWarning)
                    actual = comparison.evaluate(function)
                comparison.assert_close(
                    f"implementation={implementation!r} with {name}", actual, expected
                )


def _check_padding(comparison: Comparison) -> None:
    for name, mask in _masks()[1:]:
        function = quick_jit(with_gradients(comparison.unroll_with(mask=mask)))

        def with_nan(leaf: jax.Array, mask: np.ndarray = mask) -> jax.Array:
            valid = mask.reshape(mask.shape + (1,) * (leaf.ndim - mask.ndim))
            worst = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else -1
            return jnp.where(valid, leaf, jnp.asarray(worst, leaf.dtype))

        inputs = jax.tree.map(with_nan, comparison.xs)
        actual = function(comparison.params, inputs, comparison.state)
        expected = function(comparison.params, comparison.xs, comparison.state)
        comparison.assert_close(f"unroll with {name} and NaN in padding", actual, expected)
        (final, _), _ = actual
        if name == "lengths":
            last = [jax.tree.map(lambda leaf: leaf[-1], each) for each in (final, comparison.state)]
            comparison.assert_close("a row of length 0", *last)


def _check_chunks(comparison: Comparison) -> None:
    mask = _masks()[2][1]
    whole = comparison.evaluate(comparison.unroll_with(mask=mask))

    def halves(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        first, second = (jax.tree.map(lambda a, c=cut: a[c], xs) for cut in (slice(2), slice(2, T)))
        middle, ys = unroll(comparison.cell, params, first, state, mask=mask[:2])
        final, zs = unroll(comparison.cell, params, second, middle, mask=mask[2:], start=2)
        return final, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, zs)

    def untruncated(params: PyTree, xs: PyTree, state: PyTree) -> PyTree:
        return tbptt(comparison.cell, params, xs, state, k1=2, k2=T + 1, mask=mask)

    for name, function in {
        "a sequence in two chunks": halves,
        "tbptt with k2 > T": untruncated,
        'remat="step"': comparison.unroll_with(mask=mask, remat="step"),
        "remat=2": comparison.unroll_with(mask=mask, remat=2),
    }.items():
        comparison.assert_close(name, comparison.evaluate(function), whole)


def _check_transformations(comparison: Comparison) -> None:
    function = comparison.unroll_with()
    both = with_gradients(function)
    plain = quick_jit(both)
    params, xs, state = comparison.params, comparison.xs, comparison.state
    expected = plain(params, xs, state)
    comparison.assert_close("no jit", function(params, xs, state), expected[0])
    comparison.assert_close("checkpoint", comparison.evaluate(jax.checkpoint(function)), expected)

    def row(tree: PyTree, k: Any, axis: int = 0) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[(slice(None),) * axis + (k,)], tree)

    def scaled(k: int) -> PyTree:
        return jax.tree.map(lambda leaf: leaf * (1 + k / 8), params)

    members = jax.tree.map(lambda *leaves: jnp.stack(leaves), scaled(0), scaled(1))
    ensemble = quick_jit(jax.vmap(both, in_axes=(0, None, None)))(members, xs, state)
    for k in range(2):
        comparison.assert_close("vmap over params", row(ensemble, k), plain(scaled(k), xs, state))

    one_row = quick_jit(both)
    rows = quick_jit(jax.vmap(both, in_axes=(None, 1, 0)))(params, xs, state)
    for k in range(ROWS):
        single = one_row(params, row(xs, k, 1), row(state, k))
        comparison.assert_close("per-example gradients", row(rows, k), single)
        comparison.assert_close(
            "a batch by its rows",
            (row(expected[0][0], k), row(expected[0][1], k, 1)),
            single[0],
        )

    # Along one direction: forward mode against reverse mode, second derivatives in both orders.
    def along(params: PyTree) -> jax.Array:
        return weighed(function(params, xs, state))

    leaves, structure = jax.tree.flatten(params)
    draw = np.random.default_rng(0).standard_normal
    v = structure.unflatten([jnp.asarray(draw(leaf.shape), leaf.dtype) for leaf in leaves])

    def slope(params: PyTree) -> jax.Array:
        return dot(jax.grad(along)(params), v)

    def forward(params: PyTree) -> PyTree:
        value, slope = jax.jvp(along, (params,), (v,))
        return (value, slope), jax.jvp(jax.grad(along), (params,), (v,))[1]

    def reverse(params: PyTree) -> PyTree:
        second = jax.grad(slope)(params)
        return (along(params), slope(params)), second

    actual, expected = quick_jit(forward)(params), quick_jit(reverse)(params)
    comparison.assert_close("forward mode", actual[0], expected[0])
    comparison.assert_close("second derivatives, forward over reverse", actual[1], expected[1])


def _check_devices(comparison: Comparison) -> None:
    devices = jax.devices()[:2]
    if len(devices) < 2:
        return
    mesh = jax.make_mesh((2,), ("batch",), (jax.sharding.AxisType.Auto,), devices=devices)
    two = (
        jax.tree.map(lambda a: a[:, :2], comparison.xs),
        jax.tree.map(lambda a: a[:2], comparison.state),
    )
    function = quick_jit(comparison.unroll_with())
    on_one = function(comparison.params, *two)
    sharded_xs = jax.device_put(two[0], NamedSharding(mesh, PartitionSpec(None, "batch")))
    sharded_state = jax.device_put(two[1], NamedSharding(mesh, PartitionSpec("batch")))
    params = jax.device_put(comparison.params, NamedSharding(mesh, PartitionSpec()))
    comparison.assert_close(
        "a batch over two devices", function(params, sharded_xs, sharded_state), on_one
    )
