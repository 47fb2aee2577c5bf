"""Initializers of several gates, made of initializers of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.initializers import Chrono, EachGate, ForgetBias, ForgetGateOf, PerGate, per_gate

KEY = jax.random.key(0)
ones = jax.nn.initializers.ones


def test_each_gate_is_drawn_by_itself():
    kernel = PerGate(jax.nn.initializers.orthogonal(), gates=3)(KEY, (4, 12))
    for block in np.split(np.asarray(kernel), 3, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(4), atol=1e-5)
    assert not np.allclose(kernel[:, :4], kernel[:, 4:8])
    assert PerGate(ones, gates=2)(KEY, (6,)).tolist() == [1.0] * 6  # a bias
    windows = PerGate(jax.nn.initializers.lecun_normal())(KEY, (3, 3, 2, 8))
    assert windows.shape == (3, 3, 2, 8)


def test_a_different_initializer_for_each_gate():
    init = EachGate((ones, jax.nn.initializers.constant(2.0)))
    assert init(KEY, (4,), jnp.float16).tolist() == [1.0, 1.0, 2.0, 2.0]
    assert init(KEY, (4,), jnp.float16).dtype == jnp.float16


def test_the_update_gate_has_the_timescales_of_a_forget_gate():
    bias = ForgetGateOf(Chrono(t_max=100))(KEY, (500,))
    assert 0 <= bias.min() < bias.max() <= np.log(99.0)
    timescales = 1 / (1 - jax.nn.sigmoid(bias))
    assert timescales.mean() == pytest.approx(51.0, rel=0.1)  # uniform on [2, 100]


def test_what_draws_all_gates_stays():
    for init in (ForgetBias(1.0), Chrono(5), EachGate((ones, ones)), PerGate(ones, 3)):
        assert per_gate(init, 3) is init
    assert per_gate(ones, 3) == PerGate(ones, gates=3)


def test_a_shape_without_gates_is_named():
    with pytest.raises(
        ValueError, match=r"PerGate: shape must be \(\.\.\., 4 \* H\); got \(3, 6\)"
    ):
        PerGate(ones)(KEY, (3, 6))
    with pytest.raises(ValueError, match="EachGate: shape must be"):
        EachGate((ones, ones))(KEY, (5,))
