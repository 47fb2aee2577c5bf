"""The table of families: each row describes the parameters of its cell."""

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.convert import families
from lstm_jax.convert.families import FAMILIES, family_of, family_of_width, make_params
from tests.helpers.conversions import identical, random_params

I, H, P = 3, 5, 2  # noqa: E741


def cell_of(family):
    projection = {"projection_size": P} if "projection" in family.axes else {}
    return family.cell(I, H, **projection)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_row_describes_the_parameters_of_its_cell(family):
    params = random_params(cell_of(family))
    assert family_of(params) is family
    arrays = {name: getattr(params, name) for name in family.axes}
    sizes = family.sizes(arrays)
    assert sizes == {"I": I, "H": H} | ({"P": P} if "P" in sizes else {})
    assert identical(make_params(family, arrays), params)
    assert {**params._asdict()}.keys() - arrays.keys() <= {"recurrent_bias"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_biases_are_zeros_when_not_given(family):
    params = random_params(cell_of(family))
    arrays = {name: getattr(params, name) for name in family.axes if not name.endswith("bias")}
    made = make_params(family, arrays)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    assert not any(getattr(made, name).any() for name in family.axes.keys() - arrays.keys())


def test_the_width_of_a_kernel_tells_the_family():
    for family in (families.LSTM, families.GRU, families.TANH_RNN):
        assert family_of_width(len(family.gates) * H, H) is family
    assert family_of_width(2 * H, H) is family_of_width(7, H) is family_of_width(3, 0)


def test_parameters_of_other_cells_have_no_family():
    assert family_of(random_params(lj.CoupledLSTM(I, H))) is None
    assert family_of((1, 2, 3)) is None
    without_bias = random_params(lj.LSTM(I, H))._replace(bias=None)
    assert family_of(without_bias) is families.LSTM
