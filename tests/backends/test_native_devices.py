"""The native backend on several devices, in exported programs, and for other platforms."""

import functools
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import serialize_executable
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lstm_jax as lj
from lstm_jax.backends.layer import Layer
from lstm_jax.backends.rule import call
from lstm_jax.sharding import match_varying_axes
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import draw, flags, needs_native
from tests.helpers.toys import assert_close, may_fall_back, slow_case

pytestmark = needs_native

I, H, T, B = 3, 5, 4, 6  # noqa: E741
CELL = lj.LSTM(I, H)
CALLS = ("lstm_jax_forward", "lstm_jax_backward")


def mesh(kind=AxisType.Auto, shape=(2,), names=("batch",)):
    return jax.make_mesh(shape, names, (kind,) * len(names), devices=jax.devices("cpu"))


def loss(params, xs, state, mask=None, **options):
    final, outputs = lj.unroll(CELL, params, xs, state, mask=mask, **options)
    return jnp.sum(jnp.sin(outputs)) + jnp.sum(final.c**2)


def numbers(T=T, batch=(B,)):
    return (*draw(CELL, T, batch), jnp.asarray(flags((T, *batch), 0.7)))


def whole(arguments=None):
    """Values and gradients by the scan on one device."""
    run = jax.value_and_grad(functools.partial(loss, implementation="scan"), (0, 1, 2))
    return quick_jit(run)(*(numbers() if arguments is None else arguments))


def placed(on, specs, arguments=None):
    """Arrays, each split as a spec says."""
    arguments = numbers() if arguments is None else arguments
    trees = zip(arguments, specs, strict=True)
    return [
        jax.tree.map(lambda leaf, spec=spec: jax.device_put(leaf, NamedSharding(on, spec)), tree)
        for tree, spec in trees
    ]


BY_ROWS = (P(), P(None, "batch"), P("batch"), P(None, "batch"))


def test_a_batch_that_is_split_stays_split():
    arguments = placed(mesh(), BY_ROWS)
    forward = jax.jit(lambda *a: lj.unroll(CELL, *a[:3], mask=a[3])).lower(*arguments).compile()
    text = forward.as_text()
    assert text.count('custom_call_target="lstm_jax_forward"') == 1
    assert f"f32[1,{T},{B // 2},{I}]" in text  # its own rows only
    assert not any(moved in text for moved in ("all-gather", "all-reduce", "all-to-all", "permute"))
    final, outputs = forward(*arguments)
    assert outputs.sharding.shard_shape(outputs.shape) == (T, B // 2, H)
    assert final.c.sharding.shard_shape(final.c.shape) == (B // 2, H)


def test_gradients_of_weights_are_summed_over_devices():
    arguments = placed(mesh(), BY_ROWS)
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(*arguments).compile()
    text = compiled.as_text()
    assert [text.count(f'custom_call_target="{name}"') for name in CALLS] == [1, 1]
    assert "all-reduce" in text
    assert not any(moved in text for moved in ("all-gather", "all-to-all", "permute"))
    value, grads = compiled(*arguments)
    assert_close((value, grads), whole(), 1e-5)
    assert grads[1].sharding.shard_shape(grads[1].shape) == (T, B // 2, I)


def test_networks_that_are_split_stay_split():
    params, xs, state, _ = numbers()
    several = jax.tree.map(lambda a: jnp.stack([a, a / 2]), params)
    split = jax.device_put(several, NamedSharding(mesh(), P("batch")))
    run = jax.vmap(jax.value_and_grad(loss), (0, None, None))
    compiled = jax.jit(run).lower(split, xs, state).compile()
    text = compiled.as_text()
    assert [text.count(f'custom_call_target="{name}"') for name in CALLS] == [1, 1]
    assert not any(moved in text for moved in ("all-gather", "all-reduce", "all-to-all", "permute"))
    assert_close(compiled(split, xs, state), quick_jit(run)(several, xs, state), 1e-5)


@pytest.mark.parametrize(
    "specs",
    [
        (P(), P("batch"), P(), P("batch")),
        (P(), P(None, None), P(None, None), P()),
        (P(), P(), P("batch"), P()),
    ],
    ids=["time", "nothing", "the state alone"],
)
def test_arrays_that_are_split_in_other_ways(specs):
    arguments = placed(mesh(), specs)
    got = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arguments)
    assert_close(got, whole(), 1e-5)


def test_weights_that_are_split_by_units():
    (params, *others), on = numbers(), mesh()
    by_units = jax.tree.map(
        lambda leaf: jax.device_put(leaf, NamedSharding(on, P(*[None] * (leaf.ndim - 1), "batch"))),
        params,
    )
    others = placed(on, (P(), P(), P()), others)
    got = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(by_units, *others)
    assert_close(got, whole(), 1e-5)


@pytest.mark.parametrize("spec", [P(None, "batch"), P(None, None, "batch")], ids=str)
def test_either_of_two_batch_axes(spec):
    arguments = numbers(batch=(2, 4))
    split = placed(mesh(), (P(), spec, P(*spec[1:]), spec), arguments)
    got = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*split)
    assert_close(got, whole(arguments), 1e-5)


def test_a_mesh_of_two_axes_with_the_batch_along_one():
    on = mesh(shape=(2, 1), names=("batch", "model"))
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(*placed(on, BY_ROWS)).compile()
    assert "all-gather" not in compiled.as_text()
    assert_close(compiled(*placed(on, BY_ROWS)), whole(), 1e-5)


def test_rows_that_cannot_be_split_evenly():
    on, arguments = mesh(), numbers(batch=(3,))

    @jax.jit
    def run(params, xs, state, mask):
        xs = jax.lax.with_sharding_constraint(xs, NamedSharding(on, P(None, "batch")))
        return jax.value_and_grad(loss, (0, 1, 2))(params, xs, state, mask)

    assert_close(run(*arguments), whole(arguments), 1e-5)


@pytest.mark.parametrize("split", [True, False])
def test_a_mesh_with_explicit_axes(split):
    on = mesh(AxisType.Explicit)
    with jax.set_mesh(on):
        arguments = placed(on, BY_ROWS if split else (P(),) * 4)
        chosen = lj.explain(CELL, arguments[1], arguments[2], params=arguments[0]).implementations
        assert ("cpu" in chosen) is not split
        got = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arguments)
        if split:
            assert got[1][1].sharding.spec[1] == "batch"
    assert_close(got, whole(), 1e-5)


def test_vmap_over_an_axis_that_is_split_on_a_mesh_with_explicit_axes():
    params, xs, *_ = numbers()
    on, several = mesh(AxisType.Explicit), jnp.stack([xs, 2 * xs])

    def run(xs, implementation):
        def of_one(params, xs):
            return lj.unroll(CELL, params, xs, implementation=implementation)[1].sum()

        each = jax.vmap(jax.value_and_grad(of_one, (0, 1)), (None, 0))(params, xs)
        return each, jax.grad(lambda p: jax.vmap(of_one, (None, 0))(p, xs).sum())(params)

    wanted = quick_jit(functools.partial(run, implementation="scan"))(several)
    with jax.set_mesh(on):
        split = jax.device_put(several, NamedSharding(on, P("batch")))
        got = jax.jit(functools.partial(run, implementation="cpu"))(split)
        assert got[0][1][1].sharding.spec[0] == "batch"
    assert_close(got, wanted, 1e-5)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("inside", [True, False], ids=["gradient inside", "gradient outside"])
def test_inside_of_shard_map(check_vma, inside):
    on = mesh()
    arguments = placed(on, BY_ROWS)

    def of_part(*arguments):
        """Gradients of the sum over all devices."""
        if not check_vma:  # then JAX does not sum the gradients of shared weights
            value, grads = jax.value_and_grad(loss, (0, 1, 2))(*arguments)
            return jax.lax.psum(value, "batch"), (jax.lax.psum(grads[0], "batch"), *grads[1:])
        value, grads = jax.value_and_grad(loss, (0, 1, 2))(*arguments)
        return jax.lax.psum(value, "batch"), grads

    out_specs = (P(), (P(), P(None, "batch"), P("batch")))
    run = jax.shard_map(
        of_part, mesh=on, in_specs=BY_ROWS, out_specs=out_specs, check_vma=check_vma
    )
    if not inside:
        summed = jax.shard_map(
            lambda *a: jax.lax.psum(loss(*a), "batch"),
            mesh=on,
            in_specs=BY_ROWS,
            out_specs=P(),
            check_vma=check_vma,
        )
        run = jax.value_and_grad(summed, (0, 1, 2))
    compiled = jax.jit(run).lower(*arguments).compile()
    text = compiled.as_text()
    assert [text.count(f'custom_call_target="{name}"') for name in CALLS] == [1, 1]
    assert "all-reduce" in text
    assert_close(compiled(*arguments), whole(), 1e-5)


def test_inside_of_shard_map_over_one_axis_of_two():
    """The other axis may be split in any way, so the reference runs."""
    on = mesh(shape=(2, 1), names=("batch", "model"))
    params, xs, state, _ = numbers()
    arrays = [leaf[None] for leaf in (xs, *params, *state)]

    def of_part(*arrays):
        outs = call(Layer(), *match_varying_axes(arrays))
        return jax.lax.psum(sum(jnp.sum(jnp.sin(out)) for out in outs), "batch")

    by_rows = (P(None, None, "batch"), P(), P(), P(), P(None, "batch"), P(None, "batch"))
    run = jax.shard_map(of_part, mesh=on, in_specs=by_rows, out_specs=P(), axis_names={"batch"})
    compiled = jax.jit(jax.value_and_grad(run, range(6))).lower(*arrays).compile()
    assert not any(f'"{name}"' in compiled.as_text() for name in CALLS)

    def truth(*arrays):
        return sum(jnp.sum(jnp.sin(out)) for out in Layer().reference(*arrays))

    assert_close(compiled(*arrays), quick_jit(jax.value_and_grad(truth, range(6)))(*arrays), 1e-5)


def test_vmap_inside_of_shard_map():
    params, xs, state, _ = numbers()

    def of_examples(params, xs, state):
        return jax.vmap(jax.grad(loss, (0, 1)), (None, 1, 0))(params, xs, state)

    def of_part(params, *rows):
        # Otherwise the weights are shared, and their gradients are sums over devices.
        return of_examples(jax.lax.pcast(params, "batch", to="varying"), *rows)

    in_specs = (P(), P(None, "batch"), P("batch"))
    run = jax.shard_map(of_part, mesh=mesh(), in_specs=in_specs, out_specs=P("batch"))
    compiled = jax.jit(run).lower(params, xs, state).compile()
    assert all(f'"{name}"' in compiled.as_text() for name in CALLS)
    assert_close(compiled(params, xs, state), quick_jit(of_examples)(params, xs, state), 1e-5)


def test_the_second_device_alone():
    second = jax.devices("cpu")[1]
    arguments = jax.device_put(numbers(), second)
    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arguments)
    assert value.devices() == {second}
    assert_close((value, grads), whole(), 1e-5)


@pytest.mark.parametrize(
    "shape", [f"{T}, {B}, {I}", slow_case(f"t, b, {I}"), f"{T}, b, {I}"], ids=str
)
def test_exported_programs_run_anywhere(shape):
    """No native call, and any number of steps and rows."""
    params, xs, *_ = numbers()

    @jax.jit
    def run(params, xs):
        final, outputs = lj.unroll(CELL, lj.LSTMParams(*params), xs)
        return tuple(final), outputs

    params = tuple(params)  # a file contains no types of lstm_jax
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), jnp.float32)
    exported = jax.export.export(run)(params, spec)
    assert "custom_call @lstm" not in exported.mlir_module()
    again = exported
    if find_spec("flatbuffers"):  # which JAX writes files with, and does not install
        again = jax.export.deserialize(exported.serialize(vjp_order=1))
    assert_close(again.call(params, xs), run(params, xs), 1e-6)
    if "t" in shape:
        longer = jnp.concatenate([xs, xs])[:, :1]
        assert_close(again.call(params, longer), run(params, longer), 1e-6)
    got = jax.grad(lambda p: jnp.sum(again.call(p, xs)[1] ** 2))(params)
    assert_close(got, jax.grad(lambda p: jnp.sum(run(p, xs)[1] ** 2))(params), 1e-5)


@pytest.mark.parametrize(
    ("implementation", "remat"), [(None, 3), slow_case("scan", 3), slow_case("scan", "step")]
)
def test_remat_is_exported_for_any_number_of_steps(implementation, remat):
    params, xs, _, mask = numbers(8)

    @jax.jit
    def run(params, xs, mask):
        def of(params):
            options = {"remat": remat, "implementation": implementation, "mask": mask}
            return jnp.sum(jnp.sin(lj.unroll(CELL, lj.LSTMParams(*params), xs, **options)[1]))

        return jax.value_and_grad(of)(params)

    (t,) = jax.export.symbolic_shape("t")
    specs = [jax.ShapeDtypeStruct((t, *a.shape[1:]), a.dtype) for a in (xs, mask)]
    exported = jax.export.export(run)(tuple(params), *specs)
    for T in (1, 8):
        arguments = (tuple(params), xs[:T], mask[:T])
        assert_close(exported.call(*arguments), run(*arguments), 1e-5)


@may_fall_back
def test_linear_cells_are_exported_for_any_number_of_steps():
    cell = lj.MinLSTM(I, H)
    given, xs = cell.init(jax.random.key(0)), numbers()[1]

    @jax.jit
    def run(params, xs):
        return lj.unroll(cell, type(given)(*params), xs, implementation="parallel")[1]

    params = tuple(given)
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"t, b, {I}"), jnp.float32)
    assert_close(jax.export.export(run)(params, spec).call(params, xs), run(params, xs), 1e-6)
    (selection,) = lj.explain(cell, spec, implementation="parallel").selections
    assert selection.reasons["parallel"].endswith("it is symbolic")


def test_a_gradient_is_exported_as_well():
    arguments = numbers()
    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    exported = jax.export.export(run)(*arguments)
    assert "custom_call @lstm" not in exported.mlir_module()
    assert_close(exported.call(*arguments), run(*arguments), 1e-5)


@pytest.mark.parametrize("options", [{}, {"return_states": True}, {"mask": True, "reset": True}])
def test_a_backward_pass_outside_of_the_exported_program(options):
    params, xs, state, mask = numbers()
    flagged = {"mask": mask, "reset": jnp.asarray(flags((T, B), 0.3, 1))}
    options = {name: flagged.get(name, value) for name, value in options.items()}

    def run(params, xs, state):
        return lj.unroll(CELL, params, xs, state, reverse=True, **options)

    forward = jax.jit(lambda *a: jax.vjp(run, *a))
    outs, pull_back = jax.export.export(forward)(params, xs, state).call(params, xs, state)
    wanted, by = jax.vjp(run, params, xs, state)
    cotangents = jax.tree.map(jnp.sin, wanted)
    assert_close(outs, wanted, 1e-6)
    assert_close(pull_back(cotangents), by(cotangents), 1e-5)


def test_saved_arrays_that_are_not_read_take_no_memory():
    exported = jax.export.export(jax.jit(jax.grad(loss)))(*numbers(64))
    compiled = jax.jit(exported.call).lower(*numbers(64)).compile()
    by_scan = jax.jit(jax.grad(functools.partial(loss, implementation="scan")))
    truth = by_scan.lower(*numbers(64)).compile()
    sizes = [each.memory_analysis().temp_size_in_bytes for each in (compiled, truth)]
    assert sizes[0] < 1.1 * sizes[1]


def test_programs_for_other_platforms_have_no_native_call():
    traced = jax.jit(jax.grad(loss)).trace(*numbers())
    for platform, there in (("cuda", False), ("cpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert [f"@{name}" in text for name in CALLS] == [there, there]


def test_a_compiled_program_can_be_serialized():
    arguments = numbers()
    compiled = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
    again = serialize_executable.deserialize_and_load(
        *serialize_executable.serialize(compiled), execution_devices=jax.devices("cpu")[:1]
    )
    assert_close(again(*arguments), compiled(*arguments), 0)
    assert np.isfinite(again(*arguments)[0])
