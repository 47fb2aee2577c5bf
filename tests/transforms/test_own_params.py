"""Parameters that a file gives back in plain containers work as those of `init`."""

import json
from collections.abc import Mapping
from types import MappingProxyType

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lstm_jax as lj
from lstm_jax.param_dict import to_dict
from lstm_jax.transforms.own_structure import own_params
from tests.helpers.every import EVERY, WITH_STEPS, example


def as_numpy(tree):
    return jax.tree.map(np.asarray, tree)


def msgpack(params):
    state = flax.serialization.to_state_dict(params)
    return flax.serialization.msgpack_restore(flax.serialization.msgpack_serialize(state))


def by_json(params):
    return json.loads(json.dumps(jax.tree.map(lambda leaf: leaf.tolist(), to_dict(params))))


def sequences(params):
    """Lists in place of every container."""
    return [sequences(p) for p in params] if isinstance(params, tuple) else params


def read_only(params):
    def wrap(tree):
        if isinstance(tree, Mapping):
            return MappingProxyType({k: wrap(v) for k, v in tree.items()})
        return tree

    return wrap(to_dict(params))


FORMS = {"to_dict": to_dict, "msgpack": msgpack, "lists": sequences, "numpy": as_numpy}


@pytest.mark.parametrize("cell", EVERY.values(), ids=EVERY.keys())
def test_every_form_is_arranged_as_by_init(cell):
    params, _ = example(cell)
    for form in FORMS.values():
        arranged = own_params("test", cell, form(params))
        assert jax.tree.structure(arranged) == jax.tree.structure(params)
        chex.assert_trees_all_equal(arranged, params)
        chex.assert_trees_all_equal_dtypes(arranged, params)
    assert own_params("test", cell, params) is params
    if "bfloat16" not in repr(cell):
        chex.assert_trees_all_equal(lj.restore_params(cell, by_json(params)), params)


@pytest.mark.parametrize("cell", WITH_STEPS.values(), ids=WITH_STEPS.keys())
def test_steps_take_them(cell):
    params, x = example(cell)
    state = cell.initial_state((2,))
    expected = cell.step(params, state, x)
    restored = as_numpy(to_dict(params))
    chex.assert_trees_all_equal(cell.step(restored, state, x), expected)
    chex.assert_trees_all_equal(lj.advance(cell, restored, state, x)[0], expected)
    if lj.transforms.transform.has_gates(cell):
        gates = lj.transforms.gates
        chex.assert_trees_all_equal(gates(cell, restored, state, x), gates(cell, params, state, x))


@pytest.mark.parametrize("name", ["lstm", "peephole", "deep", "learned", "bidirectional gru"])
def test_unroll_and_its_gradient_in_the_containers_that_were_given(name):
    cell = EVERY[name]
    params, xs = example(cell, (3, 2))
    key = jax.random.key(1)

    def loss(params):
        return lj.unroll(cell, params, xs, key=key)[1].sum()

    value, expected = jax.value_and_grad(loss)(params)
    for form in (to_dict, msgpack, as_numpy):
        actual, grads = jax.value_and_grad(loss)(form(params))
        assert actual == value
        assert jax.tree.structure(grads) == jax.tree.structure(form(params))
        chex.assert_trees_all_equal(own_params("test", cell, grads), expected)


def test_all_functions_take_them():
    cell = lj.stack(lj.LSTM(3, 4), lj.GRU(4, 2))
    params, xs = example(cell, (3, 2))
    restored = msgpack(params)
    for function in (
        lambda p: lj.tbptt(cell, p, xs, k1=2),
        lambda p: lj.trace(cell, p, xs),
        lambda p: lj.gradient_flow(cell, p, xs, lambda hs: hs[-1].sum()),
    ):
        chex.assert_trees_all_equal(function(restored), function(params))
    assert lj.explain(cell, xs, params=restored) == lj.explain(cell, xs)
    layer = params[0]
    state, plain = (jnp.zeros((2, 4)),) * 2, layer._asdict()
    expected = lj.unroll(lj.lstm_step, layer, xs, state)
    chex.assert_trees_all_equal(lj.unroll(lj.lstm_step, plain, xs, state), expected)
    selected = lj.explain(lj.lstm_step, xs, state, params=plain)
    assert selected == lj.explain(lj.lstm_step, xs, state, params=layer)
    chex.assert_trees_all_equal(
        lj.lstm_step(plain, state, xs[0]), lj.lstm_step(layer, state, xs[0])
    )


def test_restored_parameters_fit_the_state_of_an_optimizer():
    cell = EVERY["deep"]
    params, _ = example(cell)
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = optimizer.init(params)
    for form in (to_dict, msgpack, read_only):
        restored = lj.restore_params(cell, form(params))
        optimizer.update(restored, state, params)


@pytest.mark.slow
def test_a_checkpoint_of_orbax_without_a_template(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    cell = EVERY["stack of bidirectional"]
    params, xs = example(cell, (3, 2))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "params", params)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "params")
    assert not isinstance(restored, tuple)
    chex.assert_trees_all_equal(lj.unroll(cell, restored, xs), lj.unroll(cell, params, xs))


@pytest.mark.parametrize("function", [lj.unroll, lj.restore_params, lj.advance])
def test_other_parameters_are_named(function):
    cell = lj.stack(lj.LSTM(3, 4), lj.GRU(4, 2))
    params = to_dict(example(cell)[0])
    params["layers_1"]["kernal"] = params["layers_1"].pop("kernel")
    xs = jnp.ones((7, 3))
    arguments = {lj.unroll: (xs,), lj.restore_params: (), lj.advance: (None, xs[0])}[function]
    message = rf"^{function.__name__}: params must have layers_1/kernel, .*; got layers_1/kernal$"
    with pytest.raises(ValueError, match=message):
        function(cell, params, *arguments)


def test_a_restored_parameter_of_another_shape_is_named():
    params = lj.LSTM(3, 4).init(jax.random.key(0))._asdict()
    with pytest.raises(ValueError, match=r"^restore_params: kernel must have shape \(3, 20\)"):
        lj.restore_params(lj.LSTM(3, 5), params)


class Weighted:
    """A cell whose own parameters are a dict."""

    def init(self, key):
        return {"w": jnp.ones(2)}

    def initial_state(self, batch_shape=()):
        return (jnp.zeros(batch_shape),)

    def step(self, params, state, x):
        return (state[0] + params["w"] @ x,)


def test_a_cell_may_have_plain_containers_of_its_own():
    cell, params = Weighted(), {"w": jnp.arange(2.0)}
    assert own_params("test", cell, params) is params
    assert lj.unroll(cell, params, jnp.ones((3, 2)))[1].tolist() == [1.0, 2.0, 3.0]
    deep = lj.stack(lj.residual(lj.TanhRNN(2, 2)), cell)
    restored = own_params("test", deep, msgpack(deep.init(jax.random.key(0))))
    assert isinstance(restored[0], lj.TanhRNNParams)
    assert isinstance(restored[1], dict)
