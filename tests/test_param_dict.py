"""Parameters as nested dicts: round trips, names, and errors."""

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.param_dict import check_param_names, flatten, from_dict, to_dict

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    "cell",
    [
        lj.LSTM(3, 5),
        lj.stack(lj.LSTM(3, 5), lj.bidirectional(lj.GRU(5, 4)), lj.MLSTM(8, 6, num_heads=2)),
        lj.learned_initial_state(lj.zoneout(lj.PeepholeLSTM(3, 5), c=0.5)),
    ],
    ids=["one", "deep", "wrapped"],
)
def test_a_round_trip_keeps_the_parameters(cell):
    params = cell.init(KEY)
    back = from_dict("load", jax.eval_shape(cell.init, KEY), to_dict(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, back, params))


def test_names_are_field_and_layer_names():
    deep = lj.stack(lj.LSTM(3, 5), lj.bidirectional(lj.LSTM(5, 4)))
    names = [name for name, _ in flatten(to_dict(deep.init(KEY)))]
    one = ["kernel", "recurrent_kernel", "bias"]
    layers = [f"layers_1/{side}/{name}" for side in ("forward", "backward") for name in one]
    assert names == [f"layers_0/{name}" for name in one] + layers


def test_a_single_array_is_named_and_empty_params_give_an_empty_dict():
    assert to_dict(jnp.ones(3)).keys() == {"param"}
    assert jnp.array_equal(from_dict("load", jnp.ones(3), {"param": jnp.ones(3)}), jnp.ones(3))
    assert to_dict(()) == {}
    assert from_dict("load", (), {}) == ()


def test_wrong_names_and_shapes_are_refused():
    cell = lj.LSTM(3, 5)
    like, named = jax.eval_shape(cell.init, KEY), to_dict(cell.init(KEY))
    with pytest.raises(ValueError, match=r"load: bias must have shape \(20,\); got \(24,\)"):
        from_dict("load", like, named | {"bias": jnp.ones(24)})
    with pytest.raises(ValueError, match=r"bias; got kernel, recurrent_kernel, bias, extra"):
        from_dict("load", like, named | {"extra": jnp.ones(1)})
    with pytest.raises(ValueError, match="got none"):
        from_dict("load", like, {})
    check_param_names("load", "metadata", ["bias"], ((), [named]))
    with pytest.raises(ValueError, match=r"for parameters, bias, .*got 'layers_0'$"):
        check_param_names("load", "metadata", ["layers_0"], ((), [named]))
    with pytest.raises(ValueError, match="for parameters, of none; got 'bias'"):
        check_param_names("load", "metadata", ["bias"], ())
