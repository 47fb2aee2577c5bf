"""What all Flax layers pass on: lengths of any dtype, and flags that are numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.layers.unroll_layer import reversed_outputs, unroll_layer
from lstm_jax.options import Options
from tests.helpers.toys import Sum, assert_close

INPUTS = np.arange(2 * 300.0).reshape(2, 300, 1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("dtype", "wrong", "clamped"),
    [
        ("uint32", [2**31, 3], [300, 3]),
        ("uint64", [2**64 - 1, 2**32 + 3], [300, 300]),
        ("int64", [2**40, 3 - 2**32], [300, 0]),
        ("uint8", [255, 3], [255, 3]),
    ],
)
def test_lengths_of_any_integer_dtype(dtype, wrong, clamped):
    @jax.jit
    def run(lengths):
        return unroll_layer("LSTM", Sum(), (), INPUTS, seq_lengths=lengths, reverse=True)

    assert_close(run(jnp.array(wrong, dtype)), run(jnp.array(clamped)), 0)
    outputs = jnp.asarray(INPUTS.swapaxes(0, 1))
    wanted = reversed_outputs(outputs, jnp.array(clamped))
    assert_close(reversed_outputs(outputs, jnp.array(wrong, dtype)), wanted, 0)


@pytest.mark.parametrize("time_major", [False, True])
def test_masks_and_resets_that_are_numbers(time_major):
    flags = np.random.default_rng(0).random((2, 300)) < 0.5
    options = {"time_major": time_major}
    inputs, flags = (a.swapaxes(0, 1) if time_major else a for a in (INPUTS, flags))
    wanted = unroll_layer("LSTM", Sum(), (), inputs, mask=flags, reset=~flags, **options)
    given = {"mask": flags.astype(jnp.bfloat16), "reset": 1 - flags.astype(int)}
    assert_close(unroll_layer("LSTM", Sum(), (), inputs, **given, **options), wanted, 0)
    with pytest.raises(ValueError, match=r"^LSTM: mask must be booleans, or numbers .*; got 3$"):
        unroll_layer("LSTM", Sum(), (), inputs, mask=3 * flags.astype(int), **options)


@pytest.mark.parametrize("padding", ["zero", "raw"])
def test_valid_steps_come_first_in_reversed_order_also_with_a_mask(padding):
    inputs, lengths = np.arange(1.0, 15).reshape(2, 7, 1), np.array([7, 4])
    options = {"reverse": True, "options": Options(padding=padding)}
    mask = np.arange(7) < lengths[:, None]
    wanted = unroll_layer("LSTM", Sum(), (), inputs, seq_lengths=lengths, **options)
    assert_close(unroll_layer("LSTM", Sum(), (), inputs, mask=mask, **options), wanted, 0)
    # With padding anywhere, the steps are those of the sequence without it.
    mask = np.array([[0, 1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1, 0]], bool)
    _, outputs = unroll_layer("LSTM", Sum(), (), inputs, mask=mask, **options)
    steps = np.stack([inputs[0][mask[0]], inputs[1][mask[1]]])
    _, wanted = unroll_layer("LSTM", Sum(), (), steps, **options)
    assert_close(outputs[:, :4], wanted, 0)
