"""Tests of every entry in the table of docs/convert.md."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstm_jax as lj
from lstm_jax import convert
from lstm_jax.convert.keras_layers import WITHOUT_EFFECT
from tests.helpers import keras_objects
from tests.helpers.conversions import (
    EXACT,
    GOLDEN,
    LIBRARIES,
    cases,
    identical,
    random_params,
    round_trip,
    to_params,
    vector,
)

PAGE = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()
HEAD, *ROWS = [
    [part.strip(" `") for part in line.split(" | ")]
    for line in re.findall(r"^\| (.*) \|$", PAGE[PAGE.index("| module |") :].split("\n\n")[0], re.M)
    if not line.startswith("---")
]
COLUMNS = [name.replace("`", "") for name in HEAD[1:]]
CELLS = [
    (row[0], column, text) for row in ROWS for column, text in zip(COLUMNS, row[1:], strict=True)
]

DTYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}
ONE = {"flax": "linen.LSTMCell"}
BIASES = {"one": False, "one or none": True, "two": False, "two or none": True}


def weights(library, dtype="float32"):
    """Return the weights of one layer in the form of the library."""
    given = vector(library, ONE.get(library, "one"), dtype).weights
    return given["lstm/linear"] if library == "haiku" else given


def close(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(x, y, rtol=0, atol=3e-7) for x, y in pairs)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Cell:
    """A stand-in for an Equinox cell with the fields that `to_params` reads."""

    weight_ih: Any
    weight_hh: Any
    bias: Any = None


def module_of_nnx(theirs):
    zeros = nnx.initializers.zeros
    cell = nnx.LSTMCell(3, 4, recurrent_kernel_init=zeros, rngs=nnx.Rngs(0))
    nnx.update(cell, {"if_" if name == "if" else name: part for name, part in theirs.items()})
    return cell


INPUTS = {
    "torch": {
        "state dict": lambda w: w,
        "module": lambda w: SimpleNamespace(state_dict=lambda: w),
    },
    "keras": {
        "weights": lambda w: w,
        "layer": lambda w: keras_objects.layer("LSTM", w),
    },
    "flax": {
        "linen tree": lambda w: {"params": {"cell": w}},
        "nnx state": lambda w: nnx.state(module_of_nnx(w)),
        "nnx module": lambda w: nnx.RNN(module_of_nnx(w)),
    },
    "haiku": {"one layer": lambda w: w, "mapping": lambda w: {"lstm/linear": w}},
    "equinox": {"module": lambda w: Cell(**w), "mapping": lambda w: w},
    "cudnn": {"flat vector": lambda w: w},
}
IN_A_MODEL = {
    "torch": ("encoder.", lambda w: {f"encoder.{name}": array for name, array in w.items()}),
    "haiku": ("net/lstm", lambda w: {"net/lstm/linear": w}),
}


def inputs(library, text):
    params = to_params(library, weights(library))
    kinds = text.split(", ")
    for kind in kinds:
        if kind == "part of a model":
            prefix, inside = IN_A_MODEL[library]
            model = {**inside(weights(library)), "head": {"w": np.ones(3)}}
            found = getattr(convert, library).to_params(model, prefix=prefix)
            assert identical(found, params)
        elif kind == "model":
            model = keras_objects.sequential(keras_objects.layer("LSTM", weights(library)))
            assert identical(to_params(library, model), (params,))
        elif kind.startswith("list of "):
            for make in INPUTS[library].values():
                assert identical(to_params(library, [make(weights(library))]), (params,))
        else:
            assert identical(to_params(library, INPUTS[library][kind](weights(library))), params)
    alone = {kind for kind in kinds if not kind.startswith(("part", "list", "model"))}
    assert {*INPUTS[library]} == alone


RESULTS = {
    ("torch", "state dict"): lambda p, w: (convert.torch.from_params(p), w),
    ("keras", "weights"): lambda p, w: (convert.keras.from_params(p), w),
    ("flax", "linen tree"): lambda p, w: (convert.flax.from_params(p), w),
    ("flax", "nnx tree"): lambda p, w: (
        convert.flax.from_params(p, layout="nnx.LSTMCell"),
        nnx.to_pure_dict(nnx.state(module_of_nnx(w), nnx.Param)),
    ),
    ("haiku", "mapping"): lambda p, w: (convert.haiku.from_params(p), {"lstm/linear": w}),
    ("equinox", "mapping"): lambda p, w: (convert.equinox.from_params(p), w),
    ("equinox", "module"): lambda p, w: (
        convert.equinox.from_params(p, like=Cell(**w)),
        Cell(**w),
    ),
    ("cudnn", "flat vector"): lambda p, w: (convert.cudnn.from_params(p), w),
}


def results(library, text):
    """Check structure and shapes; another column checks the values."""
    params = to_params(library, weights(library))
    for kind in text.split(", "):
        back, expected = RESULTS[library, kind](params, weights(library))
        assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, expected)
        assert all(isinstance(array, jax.Array) for array in jax.tree.leaves(back))


MADE = {
    "LSTM": lj.LSTM(3, 4),
    "GRU after": lj.GRU(3, 4),
    "GRU before": lj.GRU(3, 4, reset_after=False),
    "RNN": lj.TanhRNN(3, 4),
}


def cells(library, text):
    """Check that the listed cells have a round trip, and that all others are refused."""
    listed = text.replace(" with relu", "").split(", ")
    relu = {"activation": jax.nn.relu} if "relu" in text else {}
    for name, cell in MADE.items():
        params = random_params(cell)
        if name not in listed:
            with pytest.raises(ValueError, match=r"has no (GRU|simple RNN)"):
                getattr(convert, library).from_params(params)
        elif relu and name == "RNN":
            back = convert.haiku.from_params(params, **relu)
            found, again = convert.haiku.to_cell(back)
            assert found == lj.TanhRNN(3, 4, **relu)
            assert close(again, params)
        else:
            back = round_trip(library, params)
            assert close(back, params)
            assert convert.cell_of(back) == cell


def layers(library, text):
    uniform = random_params(lj.stack(lj.LSTM(3, 4), lj.LSTM(4, 4)))
    assert close(round_trip(library, uniform), uniform)
    others = random_params(lj.stack(lj.LSTM(3, 4), lj.LSTM(4, 2)))
    if text == "any":
        assert close(round_trip(library, others), others)
        return
    assert text == "equal"
    with pytest.raises(ValueError, match="needs the same units and directions in all layers"):
        getattr(convert, library).from_params(others)


def directions(library, text):
    params = random_params(lj.bidirectional(lj.LSTM(3, 4)))
    if text == "both":
        assert close(round_trip(library, params), params)
        return
    assert text == "one"
    with pytest.raises(ValueError, match="has no bidirectional layer"):
        getattr(convert, library).from_params(params)


def projection(library, text):
    params = random_params(lj.ProjectedLSTM(3, 4, projection_size=2))
    if text == "yes":
        assert close(round_trip(library, params), params)
        return
    assert text == "no"
    with pytest.raises(ValueError, match="has no projection"):
        getattr(convert, library).from_params(params)


def bias(library, text):
    params = to_params(library, weights(library))
    if text == "one, plus 1 at call":
        zeros = to_params(library, jax.tree.map(np.zeros_like, weights(library)))
        assert zeros.bias.reshape(4, 4).sum(axis=1).tolist() == [0, 4, 0, 0]
        return
    if text.startswith("two"):
        twice = getattr(convert, library).from_params(params)
        flat = np.concatenate([np.ravel(a) for a in jax.tree.leaves(twice)])
        assert flat.size == sum(leaf.size for leaf in params) + params.bias.size
    if BIASES[text]:
        without = params._replace(bias=jnp.zeros(16))
        assert identical(to_params(library, without_bias(library, without)), without)
        with pytest.raises(ValueError, match="bias=False needs biases of zero"):
            without_bias(library, params)
    else:
        with pytest.raises(TypeError, match="bias"):
            getattr(convert, library).from_params(params, bias=False)


def without_bias(library, params):
    if library == "equinox":
        return convert.equinox.from_params(params, like=Cell(np.ones((16, 3)), np.ones((16, 4))))
    return getattr(convert, library).from_params(params, bias=False)


def dtypes(library, text):
    for short in text.split(", "):
        dtype = DTYPES[short]
        with jax.enable_x64(dtype == "float64"):
            theirs = jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), weights(library))
            params = to_params(library, theirs)
            back = jax.eval_shape(getattr(convert, library).from_params, params)
            assert {leaf.dtype.name for leaf in jax.tree.leaves((params, back))} == {dtype}


def exactness(library, text):
    theirs = weights(library)
    back = getattr(convert, library).from_params(to_params(library, theirs))
    if text == "exact":
        assert identical(back, jax.tree.map(jnp.asarray, theirs))
    elif text == "bias of the forget gate rounded":
        back = back["lstm/linear"]
        difference = np.abs(np.asarray(back["b"]) - theirs["b"]).reshape(4, 4).max(axis=1)
        assert difference[[0, 1, 3]].tolist() == [0, 0, 0]
        assert 0 < difference[2] <= 1.2e-7
        np.testing.assert_array_equal(back["w"], theirs["w"])
    else:
        assert text == "two biases become their sum and zero"
        if library == "torch":
            pair, given = ([part[f"bias_{x}_l0"] for x in ("ih", "hh")] for part in (back, theirs))
            kernels = "weight_ih_l0", "weight_hh_l0"
            back, theirs = ([part[name] for name in kernels] for part in (back, theirs))
        else:  # the biases come last
            pair, given = (np.split(part[-32:], 2) for part in (back, theirs))
            back, theirs = back[:-32], theirs[:-32]
        np.testing.assert_array_equal(pair, [given[0] + given[1], 0 * given[0]])
        assert given[1].all()
        for a, b in zip(back, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


CHECKS = {
    "input of to_params": inputs,
    "result of from_params": results,
    "cells": cells,
    "layers": layers,
    "directions": directions,
    "projection": projection,
    "bias": bias,
    "dtypes": dtypes,
    "round trip": exactness,
}


@pytest.mark.parametrize(("library", "column", "text"), CELLS)
def test_an_entry_of_the_table(library, column, text):
    CHECKS[column](library, text)


def test_every_library_has_a_row():
    modules = {*convert.__all__} - {"cell_of", "onnx", "safetensors"}  # these have own sections
    assert {row[0] for row in ROWS} == modules == {*LIBRARIES}
    assert {*CHECKS} == {*COLUMNS}


def test_all_directions_and_layers_agree_with_the_library():
    """The page states the tolerances that the golden vectors are tested with."""
    documented = re.search(r"to (\S+) in float32 and to (\S+) in float64", PAGE)
    assert dict(zip(EXACT, map(float, documented.groups()), strict=True)) == EXACT
    for row in ROWS:
        kinds = {case.lower().split(".")[-1] for case in cases(row[0])}
        both = row[1 + COLUMNS.index("directions")] == "both"
        assert bool(kinds & {"bidirectional", "everything"}) == both


def test_the_versions_are_those_that_made_the_vectors():
    versions = json.loads((GOLDEN / "versions.json").read_text())
    for name, version in versions.items():
        documented = re.search(rf"\b{name}\s([\d.]+\d)", PAGE)[1]
        assert re.match(rf"{re.escape(documented)}(\.|$)", version), name


def test_every_kind_of_cell_has_golden_vectors():
    for library, *entries in ROWS:
        listed = dict(zip(COLUMNS, entries, strict=True))
        for kind, names in {"GRU": "gru", "RNN": "rnn|simple"}.items():
            has_vectors = any(re.search(names, case.lower()) for case in cases(library))
            assert has_vectors or kind not in listed["cells"]


def tables():
    """Return the rows of all tables of the page."""
    return [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", PAGE, re.M)]


def test_the_page_lists_the_layers_of_keras_that_are_skipped():
    (row,) = [row for row in tables() if row[-1] == "skipped"]
    assert tuple(re.findall(r"`(\w+)`", row[0])) == WITHOUT_EFFECT
