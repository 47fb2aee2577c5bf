"""Errors name the argument that was meant, also where another library calls it otherwise."""

import dataclasses
import inspect
import re

import pytest

import lstm_jax as lj
from lstm_jax.did_you_mean import _SAME_MEANING, meant, unknown_arguments
from tests.helpers.every import CELLS

KINDS = {type(cell): cell for cell in CELLS.values()}
SIZES = {lj.ConvLSTM: "input_shape"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("hidden_features", "hidden_size"),
        ("hiden_size", "hidden_size"),
        ("features", "hidden_size"),
        ("units", "hidden_size"),
        ("num_units", "hidden_size"),
        ("hidden_dim", "hidden_size"),
        ("in_features", "input_size"),
        ("input_dim", "input_size"),
        ("param_dtype", "dtype"),
        ("kernel_initializer", "kernel_init"),
    ],
)
def test_every_cell_names_the_argument_that_was_meant(kind, given, wanted):
    if wanted == "input_size":
        wanted = SIZES.get(kind, wanted)
    message = rf"^{kind.__name__}: there is no argument {given}; did you mean {wanted}\?$"
    with pytest.raises(TypeError, match=message):
        kind(3, **{given: 5})


def test_all_wrong_arguments_are_named_at_once():
    message = "no argument in_features, features; did you mean input_size, hidden_size?"
    with pytest.raises(TypeError, match=re.escape(message)):
        lj.GRU(in_features=3, features=5)  # pyright: ignore[reportCallIssue]
    message = (
        "LSTM: there is no argument batch_first; there are input_size, hidden_size, kernel_init"
    )
    with pytest.raises(TypeError, match=message):
        lj.LSTM(3, 5, batch_first=True)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_right_arguments_are_taken(kind):
    cell = KINDS[kind]
    fields = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    assert kind(**fields) == cell
    assert inspect.signature(kind).parameters.keys() == fields.keys()


def test_a_cell_with_an_init_of_its_own_has_its_own_arguments():
    class Square(lj.LSTM):
        def __init__(self, units, **options):
            super().__init__(units, units, **options)

    class Strict(lj.LSTM):
        def __init__(self, size):
            super().__init__(size, size)

    assert Square(units=3).hidden_size == 3
    assert Strict(size=3).input_size == 3
    with pytest.raises(TypeError, match="Strict: there is no argument units; did you mean size"):
        Strict(units=3)  # pyright: ignore[reportCallIssue]


def test_names_for_layers_of_flax():
    names = ["in_features", "features", "gate_fn"]
    assert meant("hidden_size", names) == "features"
    assert meant("recurrent_activation", names) == "gate_fn"
    assert meant("rate", names) is None
    assert unknown_arguments("LSTM", ["features"], names) is None


def test_no_name_has_two_meanings():
    names = [name for same in _SAME_MEANING for name in same]
    assert len(names) == len(set(names))
