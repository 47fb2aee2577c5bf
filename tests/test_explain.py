"""What `explain` says: the kernel that a run takes, in one line each why not another."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lstm_jax as lj
from lstm_jax.backends import cpu, ffi
from tests.helpers.against_scan import needs_native
from tests.helpers.toys import may_fall_back

CELL = lj.LSTM(3, 5)
XS = jax.ShapeDtypeStruct((7, 2, 3), jnp.float32)
MASK = jax.ShapeDtypeStruct((7, 2), jnp.bool_)


@pytest.fixture
def without_native(monkeypatch):
    monkeypatch.setattr(cpu, "platform", lambda: "cpu")
    monkeypatch.setattr(ffi, "load", lambda: "the native library is not installed here")


def why_not(explanation, backend="cpu"):
    (selection,) = explanation.selections
    assert selection.implementation != backend
    return selection.reasons[backend]


@needs_native
def test_the_text_names_the_cell_and_the_backend_with_its_instruction_set():
    text = str(lj.explain(CELL, XS))
    assert text == f"LSTM(input_size=3, hidden_size=5)\n  cpu ({ffi.instruction_set()})"


@needs_native
def test_backends_before_the_selected_one_have_a_line_each():
    cell, reason = lj.GRU(3, 5), "it runs the plain LSTM; the cell is a GRU"
    explanation = lj.explain(cell, XS)
    first, second, *lines = str(explanation).splitlines()
    assert (first, second) == (repr(cell), f"  {explanation.implementations[0]}")
    assert lines[0].split(maxsplit=2) == ["not", "cpu", reason]
    assert len(lines) == len(explanation.selections[0].reasons)


@needs_native
@pytest.mark.parametrize(
    ("cell", "options", "reason"),
    [
        (lj.GRU(3, 5), {}, "the cell is a GRU"),
        (lj.clip(CELL, c=1.0), {}, "the cell is a Clip"),
        (lj.LSTM(3, 5, activation=jnp.sin), {}, "a tanh; the cell has others"),
        (lj.LSTM(3, 5, gate_activation=jax.nn.hard_sigmoid), {}, "the cell has others"),
        (CELL, {"mask": MASK, "padding": "raw"}, 'padding="raw" outputs the step itself'),
        (CELL, {"remat": "step"}, "remat='step' excludes that"),
        (CELL, {"remat": 3, "return_states": True}, "remat=3 excludes that"),
        (CELL, {"remat": 3, "mask": MASK, "padding": "hold"}, "remat=3 excludes that"),
        (lj.LSTM(3, 5, dtype=jnp.float16), {}, "h and c are float16, float16, float32"),
        (lj.LSTM(3, 5, dtype=lj.Policy(output=jnp.bfloat16)), {}, "float32, bfloat16, float32"),
        (CELL, {"implementation": "scan"}, "implementation='scan' is requested"),
        (CELL, {"implementation": "parallel"}, "implementation='parallel' is requested"),
    ],
)
def test_why_not_the_native_backend(cell, options, reason):
    wanted = {"implementation": "cpu"} | options
    got = why_not(lj.explain(cell, XS, **wanted))
    assert reason in got
    assert "\n" not in got


@needs_native
def test_raw_padding_and_remat_without_effect_are_no_reasons():
    assert lj.explain(CELL, XS, padding="raw").implementations == ("cpu",)
    assert lj.explain(CELL, XS, remat=3).implementations == ("cpu",)


@needs_native
def test_no_steps_and_symbolic_sizes():
    assert "no step" in why_not(lj.explain(CELL, jax.ShapeDtypeStruct((0, 2, 3), jnp.float32)))
    for shape in ("t, 2, 3", "7, b, 3"):
        xs = jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), jnp.float32)
        assert "some are symbolic" in why_not(lj.explain(CELL, xs))


@needs_native
def test_arrays_sharded_over_a_mesh_with_explicit_axes():
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Explicit,), devices=jax.devices("cpu"))
    with jax.set_mesh(mesh):
        for spec, taken in ((P(None, "batch"), False), (P(), True)):
            xs = jax.device_put(jnp.ones((7, 2, 3)), NamedSharding(mesh, spec))
            explanation = lj.explain(CELL, xs)
            if taken:
                assert explanation.implementations == ("cpu",)
            else:
                assert "a mesh with explicit axes" in why_not(explanation)


@needs_native
def test_another_device(monkeypatch):
    monkeypatch.setattr(cpu, "platform", lambda: "gpu")
    assert why_not(lj.explain(CELL, XS)) == "it runs on CPUs; the default device is a gpu"


@needs_native
def test_an_old_processor_runs_it_only_when_named(monkeypatch):
    monkeypatch.setattr(ffi, "instruction_set", lambda: "baseline")
    for machine, taken in (("x86_64", False), ("AMD64", False), ("aarch64", True)):
        monkeypatch.setattr(cpu.machine, "machine", lambda machine=machine: machine)
        explanation = lj.explain(CELL, XS)
        assert (explanation.implementations == ("cpu",)) is taken
        assert taken or "without AVX2" in why_not(explanation)
        assert lj.explain(CELL, XS, implementation="cpu").implementations == ("cpu",)


@may_fall_back
def test_without_the_native_library_another_backend_gives_the_same_numbers(monkeypatch):
    params, xs = CELL.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (7, 2, 3))
    best = lj.unroll(CELL, params, xs)
    monkeypatch.setattr(ffi, "load", lambda: "the native library is not installed here")
    for implementation in (None, "cpu"):
        other = lj.unroll(CELL, params, xs, implementation=implementation)
        for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(best), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("without_native")
def test_without_the_native_library_one_line_gives_the_reason():
    explanation = lj.explain(CELL, XS)
    assert "cpu" not in explanation.implementations
    lines = [line for line in str(explanation).splitlines() if "not installed here" in line]
    assert [line.split(maxsplit=2)[1:] for line in lines] == [
        ["cpu", "the native library is not installed here"]
    ]


@pytest.mark.usefixtures("without_native")
def test_a_stack_without_the_native_library_goes_step_by_step():
    deep = lj.stack(CELL, lj.LSTM(5, 4))
    assert lj.explain(deep, XS, implementation="cpu").implementations == ("scan",)


def test_the_reason_why_the_native_library_cannot_be_loaded(monkeypatch):
    def gone(name):
        raise ImportError(name)

    def broken(name):
        module = importlib.import_module("types").SimpleNamespace(TARGETS=("lstm_jax_forward",))
        module.ABI_VERSION = ffi.ABI_VERSION
        module.handler = lambda target: (_ for _ in ()).throw(OSError("no such file"))
        return module

    def older(name):
        return importlib.import_module("types").SimpleNamespace(TARGETS=("lstm_jax_forward",))

    for importing, reason in (
        (gone, "not installed"),
        (broken, "cannot be loaded: no such file"),
        (
            older,
            "ABI version mismatch: reinstall lstm_jax_native (it has version 1, this lstm_jax needs"
            f" {ffi.ABI_VERSION})",
        ),
    ):
        monkeypatch.setattr(ffi, "import_module", importing)
        assert reason in ffi.load.__wrapped__()


@needs_native
def test_a_library_built_for_another_jax_is_not_used(monkeypatch):
    def refused(*arguments, **options):
        raise RuntimeError("INVALID_ARGUMENT: incompatible API version")

    monkeypatch.setattr(ffi, "load", ffi.load.__wrapped__)
    monkeypatch.setattr(jax.ffi, "register_ffi_target", refused)
    assert "cannot be loaded: INVALID_ARGUMENT" in why_not(lj.explain(CELL, XS))


@needs_native
def test_each_cell_of_a_stack_is_listed_and_equal_ones_once():
    layer = lj.LSTM(5, 5)
    deep = lj.stack(CELL, lj.residual(layer), layer, lj.bidirectional(lj.GRU(5, 4), layer))
    explanation = lj.explain(deep, XS, lengths=jax.ShapeDtypeStruct((2,), jnp.int32))
    assert [selection.cell for selection in explanation.selections] == [CELL, layer, lj.GRU(5, 4)]
    assert explanation.implementations[:2] == ("cpu", "cpu")
    assert str(explanation).count("cpu (") == 2


@needs_native
def test_a_bare_step_is_explained_by_its_parameters_and_state():
    params = jax.eval_shape(CELL.init, jax.random.key(0))
    state = jax.eval_shape(lambda: tuple(CELL.initial_state((2,))))
    assert lj.explain(lj.lstm_step, XS, state, params=params).implementations == ("cpu",)
    other = lj.explain(lambda p, s, x: lj.lstm_step(p, s, x), XS, state, params=params)
    assert why_not(other) == (
        "it runs the plain LSTM; the cell is a step function other than lstm_step"
    )


def test_nothing_is_computed():
    def no_step(params, state, x):
        jax.debug.callback(lambda: pytest.fail("a step ran"))
        return lj.lstm_step(params, state, x)

    params, state = CELL.init(jax.random.key(0)), CELL.initial_state((2,))
    # So large that to compute it would take hours, and to hold it more memory than there is.
    huge = jax.ShapeDtypeStruct((10**6, 10**4, 3), jnp.float32)
    lj.explain(no_step, jnp.ones((7, 2, 3)), state, params=params)
    assert lj.explain(
        CELL, huge, mask=jax.ShapeDtypeStruct(huge.shape[:2], jnp.bool_)
    ).implementations
    jax.effects_barrier()


def test_it_raises_what_unroll_raises():
    with pytest.raises(ValueError, match=r"lstm_step: x must .*got \(2, 4\)"):
        lj.explain(CELL, jax.ShapeDtypeStruct((7, 2, 4), jnp.float32))
    with pytest.raises(ValueError, match="explain: implementation must be None or one of"):
        lj.explain(CELL, XS, implementation="gpu")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (lj.LSTM, {}),
        (3, {}),
        (lambda params, state, x: state, {}),
        (CELL, {"lengths": np.array([9, 3])}),
        (CELL, {"lengths": np.array([2.0, 3.0])}),
        (CELL, {"mask": np.ones((7, 3), bool)}),
        (CELL, {"key": 3}),
        (CELL, {"start": 0.5}),
        (CELL, {"remat": 0}),
    ],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_errors_in_the_arguments_are_those_of_unroll(cell, options):
    params = CELL.init(jax.random.key(0))
    with pytest.raises((TypeError, ValueError)) as wanted:
        lj.unroll(cell, params, jnp.ones(XS.shape), **options)
    with pytest.raises(type(wanted.value)) as got:
        lj.explain(cell, XS, **options)
    assert str(got.value) == str(wanted.value).replace("unroll:", "explain:")


def test_a_bare_step_without_parameters_raises_its_own_error():
    state = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    explanation = lj.explain(lambda params, state, x: (state[0] + x,), XS, (state,))
    assert explanation.implementations == ("scan",)


@needs_native
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("", ")"),
        ("axv2", "; LSTM_JAX_ISA=axv2 is none of avx512, avx2, baseline)"),
        ("avx512", "; not avx512, which this machine cannot run)"),
    ],
)
def test_a_missing_instruction_set_is_named(monkeypatch, wanted, said):
    module = importlib.import_module("lstm_jax.explain")
    monkeypatch.setattr(module, "instruction_set", lambda: "avx2")
    monkeypatch.setenv("LSTM_JAX_ISA", wanted)
    assert str(lj.explain(CELL, XS)).endswith(f"  cpu (avx2{said}")
