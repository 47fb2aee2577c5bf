import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lstm_jax import LSTM, TanhRNN
from lstm_jax.initializers import (
    Chrono,
    ForgetBias,
    TruncatedNormal,
    Uniform,
    UniformGate,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
    zeros,
)

KEY = jax.random.key(0)
H = 6

# Each with a shape it accepts.
EVERY = [
    pytest.param(lecun_normal, (3, 4 * H), id="lecun_normal"),
    pytest.param(glorot_uniform, (3, 4 * H), id="glorot_uniform"),
    pytest.param(orthogonal, (H, 4 * H), id="orthogonal"),
    pytest.param(orthogonal_per_gate, (H, 4 * H), id="orthogonal_per_gate"),
    pytest.param(Uniform(0.5), (3, 4 * H), id="Uniform"),
    pytest.param(Uniform(0.5, terms=2), (4 * H,), id="Uniform_sum"),
    pytest.param(TruncatedNormal(0.5), (3, 4 * H), id="TruncatedNormal"),
    pytest.param(zeros, (4 * H,), id="zeros"),
    pytest.param(ForgetBias(2.0), (4 * H,), id="ForgetBias"),
    pytest.param(Chrono(100), (4 * H,), id="Chrono"),
    pytest.param(UniformGate(), (4 * H,), id="UniformGate"),
    pytest.param(UniformGate(coupled=True), (3 * H,), id="UniformGate_coupled"),
]
RANDOM = [p for p in EVERY if p.id not in ("zeros", "ForgetBias")]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, "bfloat16"])
@pytest.mark.parametrize(("init", "shape"), EVERY)
def test_shape_and_dtype(init, shape, dtype):
    for given in (shape, list(shape)):
        drawn = jax.eval_shape(lambda key, given=given: init(key, given, dtype), KEY)
        assert (drawn.shape, drawn.dtype) == (shape, jnp.dtype(dtype))
    assert jax.eval_shape(lambda key: init(key, shape), KEY).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("init", "shape"), EVERY)
def test_float64(init, shape):
    assert jax.eval_shape(lambda key: init(key, shape, jnp.float64), KEY).dtype == jnp.float64


@pytest.mark.parametrize(("init", "shape"), EVERY)
def test_the_same_key_draws_the_same(init, shape):
    assert jnp.array_equal(init(KEY, shape), init(KEY, shape))


@pytest.mark.parametrize(("init", "shape"), RANDOM)
def test_another_key_draws_another(init, shape):
    assert not jnp.array_equal(init(KEY, shape), init(jax.random.key(1), shape))


@pytest.mark.parametrize("fan_in", [3, 300])
def test_lecun_normal_has_variance_one_over_fan_in(fan_in):
    draws = np.asarray(lecun_normal(KEY, (fan_in, 40_000 // fan_in))) * np.sqrt(fan_in)
    assert draws.mean() == pytest.approx(0.0, abs=0.02)
    assert draws.std() == pytest.approx(1.0, abs=0.02)
    assert 2.0 < np.abs(draws).max() < 2.3  # cut at two deviations, then widened to variance 1


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float64, 1e-13), (jnp.float32, 1e-5), (jnp.bfloat16, 0.02)]
)
@pytest.mark.usefixtures("x64")
def test_each_gate_is_orthogonal_and_its_own(dtype, tolerance):
    kernel = orthogonal_per_gate(KEY, (H, 4 * H), dtype)
    blocks = np.split(np.asarray(kernel, np.float64), 4, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=tolerance)
    for k in range(1, 4):
        assert not np.allclose(blocks[0], blocks[k], atol=0.1)


@pytest.mark.parametrize("init", [orthogonal, orthogonal_per_gate])
def test_orthogonal_matrices_are_made_one_after_the_other(init):
    # In batches, side by side, they can lock up on a CPU.
    draw = jax.vmap(lambda key: init(key, (5, 20)))
    program = str(jax.make_jaxpr(draw)(jax.random.split(KEY, 3)))
    (made,) = re.findall(r":f32\[([\d,]+)\] \w+:f32\[[\d,]+\] = qr\[", program)
    assert made.count(",") == 1


@pytest.mark.parametrize("shape", [(5,), (5, 19), (0, 0), (5, 5, 5)])
def test_orthogonal_per_gate_names_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"orthogonal_per_gate: shape must be \(H, k \* H\)"):
        orthogonal_per_gate(KEY, shape)


def test_forget_bias_is_in_the_forget_gate_alone():
    i, f, g, o = jnp.split(ForgetBias(2.5)(KEY, (4 * H,)), 4)
    assert jnp.array_equal(f, jnp.full(H, 2.5))
    assert not any(jnp.any(gate) for gate in (i, g, o))
    assert jnp.array_equal(ForgetBias()(KEY, (8,)), jnp.repeat(jnp.array([0.0, 1, 0, 0]), 2))


@pytest.mark.parametrize("t_max", [10, 784])
def test_chrono_spreads_timescales_uniformly(t_max):
    i, f, g, o = jnp.split(Chrono(t_max)(KEY, (4 * 4000,)), 4)
    assert jnp.array_equal(i, -f)
    assert not jnp.any(g)
    assert not jnp.any(o)
    timescales = 1 + np.exp(np.asarray(f, np.float64))
    on_2_to_t_max = scipy.stats.uniform(loc=2, scale=t_max - 2)
    assert scipy.stats.kstest(timescales, on_2_to_t_max.cdf).pvalue > 0.01
    # A unit remembers for 1 / (1 - f) steps.
    np.testing.assert_allclose(1 / (1 - 1 / (1 + np.exp(-np.asarray(f)))), timescales, rtol=1e-3)


@pytest.mark.parametrize(("init", "shape"), EVERY)
def test_low_precision_is_the_float32_draw_rounded(init, shape):
    expected = init(KEY, shape).astype(jnp.bfloat16)
    assert jnp.array_equal(init(KEY, shape, jnp.bfloat16), expected)


def test_the_shortest_chrono_has_every_gate_half_open():
    assert not jnp.any(Chrono(2)(KEY, (40,)))


@pytest.mark.parametrize("t_max", [1.9, -1, np.nan, np.inf])
def test_chrono_names_a_wrong_t_max(t_max):
    with pytest.raises(ValueError, match=f"Chrono: t_max must be at least 2 .*finite; got {t_max}"):
        Chrono(t_max)


@pytest.mark.parametrize("H", [2, 5, 2000])
def test_uniform_gate_spreads_the_forget_gate_evenly(H):
    bias = jax.vmap(lambda key: UniformGate()(key, (4 * H,)))(jax.random.split(KEY, 8000 // H))
    i, f, g, o = np.split(np.asarray(bias, np.float64), 4, axis=1)
    np.testing.assert_array_equal(i, -f)
    assert not g.any()
    assert not o.any()
    gate = scipy.special.expit(f).ravel()
    if H == 2:
        np.testing.assert_array_equal(gate, 0.5)  # U(1/2, 1/2)
    else:
        between = scipy.stats.uniform(loc=1 / H, scale=1 - 2 / H)
        assert scipy.stats.kstest(gate, between.cdf).pvalue > 0.01
    # The input gate starts as it would be if it were coupled.
    np.testing.assert_allclose(scipy.special.expit(i).ravel(), 1 - gate, rtol=1e-6)


def test_uniform_gate_of_coupled_gates_has_no_input_gate():
    f, g, o = jnp.split(UniformGate(coupled=True)(KEY, (3 * H,)), 3)
    assert jnp.array_equal(f, UniformGate()(KEY, (4 * H,))[H : 2 * H])
    assert not jnp.any(g)
    assert not jnp.any(o)


def test_uniform_gate_names_too_few_units():
    with pytest.raises(ValueError, match=r"UniformGate: H must be at least 2.*got shape \(4,\)"):
        UniformGate()(KEY, (4,))


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_uniform_is_the_sum_of_its_terms(terms):
    draws = np.asarray(Uniform(0.25, terms)(KEY, (20_000,))) * 4
    assert np.abs(draws).max() <= terms
    assert draws.std() == pytest.approx(np.sqrt(terms / 3), rel=0.02)
    # Irwin and Hall: the sum of uniforms on (0, 1).
    sums = (draws + terms) / 2
    by_formula = {1: lambda s: s, 2: lambda s: np.where(s < 1, s**2 / 2, 1 - (2 - s) ** 2 / 2)}
    if terms in by_formula:
        assert scipy.stats.kstest(sums, by_formula[terms]).pvalue > 0.01


def test_truncated_normal_is_cut_at_two_deviations_and_not_widened():
    draws = np.asarray(TruncatedNormal(0.1)(KEY, (20_000,)))
    cut = scipy.stats.truncnorm(-2, 2, scale=0.1)
    assert scipy.stats.kstest(draws, cut.cdf).pvalue > 0.01
    assert draws.std() == pytest.approx(0.08796, rel=0.02)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize(("init", "name"), [(Uniform, "bound"), (TruncatedNormal, "stddev")])
def test_a_wrong_scale_is_named(init, name, value):
    with pytest.raises(ValueError, match=f"{init.__name__}: {name} must be positive.*got {value}"):
        init(value)


def test_uniform_names_a_wrong_number_of_terms():
    with pytest.raises(ValueError, match="Uniform: terms must be at least 1; got 0"):
        Uniform(1.0, terms=0)


@pytest.mark.parametrize(("rows", "columns"), [(3, 12), (5, 5), (12, 3)])
def test_orthogonal_has_orthonormal_rows_over_all_gates(rows, columns):
    kernel = np.asarray(orthogonal(KEY, (rows, columns)), np.float64)
    short = kernel if rows <= columns else kernel.T
    np.testing.assert_allclose(short @ short.T, np.eye(min(rows, columns)), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_forget_bias_names_a_wrong_value(value):
    with pytest.raises(ValueError, match=f"ForgetBias: value must be finite; got {value}"):
        ForgetBias(value)


@pytest.mark.parametrize("init", [ForgetBias(), Chrono(100), UniformGate()])
@pytest.mark.parametrize("shape", [(6,), (4, 4), ()])
def test_bias_initializers_name_a_wrong_shape(init, shape):
    with pytest.raises(ValueError, match=rf"{type(init).__name__}: shape must be \(4 \* H,\)"):
        init(KEY, shape)


def test_settings_print_compare_and_hash():
    assert repr(ForgetBias(2.0)) == "ForgetBias(value=2.0)"
    assert repr(Chrono(784)) == "Chrono(t_max=784)"
    assert repr(Uniform(0.5)) == "Uniform(bound=0.5, terms=1)"
    assert len({ForgetBias(), ForgetBias(1.0), ForgetBias(2.0), Chrono(9), Chrono(9)}) == 3


@pytest.mark.parametrize("cell", [LSTM, TanhRNN])
def test_jaxs_own_initializers_are_interchangeable(cell):
    theirs = jax.nn.initializers
    made = cell(
        3,
        H,
        kernel_init=theirs.constant(0.25),
        recurrent_kernel_init=theirs.glorot_uniform(),
        bias_init=theirs.ones,
    )
    kernel, recurrent, bias = made.init(KEY)
    assert bool(jnp.all(kernel == 0.25))
    assert bool(jnp.all(bias == 1.0))
    assert jnp.abs(recurrent).max() <= jnp.sqrt(6 / sum(recurrent.shape))
    assert hash(made) is not None


def test_the_three_parts_of_init_are_drawn_from_their_own_keys():
    normal = jax.nn.initializers.normal()
    cell = LSTM(H, H, kernel_init=normal, recurrent_kernel_init=normal, bias_init=normal)
    kernel, recurrent, bias = cell.init(KEY)
    assert not jnp.allclose(kernel, recurrent)
    assert not jnp.allclose(kernel[0], bias)
    assert not jnp.allclose(recurrent[0], bias)
