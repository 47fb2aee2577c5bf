"""Safetensors files: round trips for any cell, names and metadata, atomic writes, and errors."""

import json
import os
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings

import lstm_jax as lj
from lstm_jax.convert import safetensors as ours
from tests.helpers.conversions import identical, parameters, random_params
from tests.helpers.drawn import LSTM_LIKE_CELLS


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


@settings(max_examples=12)
@given(params=parameters(projection=True))
def test_round_trip_without_a_cell(tmp_path_factory, params):
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    ours.save(path, params)
    assert identical(ours.load(path), params)


CELLS = [
    *(kind(3, 5) for kind in LSTM_LIKE_CELLS),
    lj.SLSTM(3, 6, num_heads=2),
    lj.MLSTM(3, 6, num_heads=2),
    lj.MinLSTM(3, 5),
    lj.ConvLSTM((8, 8, 3), 5, kernel_size=3),
    lj.stack(lj.learned_initial_state(lj.GRU(3, 5)), lj.bidirectional(lj.LSTM(5, 4))),
    lj.bidirectional(lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4))),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_round_trip_with_any_cell(tmp_path, cell):
    path = tmp_path / "model.safetensors"
    params = random_params(cell)
    ours.save(path, params, cell)
    assert identical(ours.load(path, cell), params)
    assert header(path)["__metadata__"]["cell"] == repr(cell)
    if cell not in (lj.LSTM(3, 5), lj.GRU(3, 5)):
        with pytest.raises(ValueError, match=re.escape(f"of {cell}: pass the cell")):
            ours.load(path)


def test_scalars_and_transposed_arrays_are_loaded_unchanged(tmp_path):
    class Cell:
        def init(self, key):
            return {"scale": jnp.float32(2), "turned": jnp.arange(6.0).reshape(2, 3).T}

    params = Cell().init(None)
    ours.save(tmp_path / "model", params, Cell())
    assert identical(ours.load(tmp_path / "model", Cell()), params)


def test_float64_round_trip(tmp_path, x64):
    params = random_params(lj.LSTM(3, 5, dtype=jnp.float64))
    ours.save(tmp_path / "model", params)
    assert identical(ours.load(tmp_path / "model"), params)


def test_names_and_metadata_in_a_file(tmp_path):
    path, cell = tmp_path / "model.safetensors", lj.stack(lj.bidirectional(lj.LSTM(3, 5)))
    ours.save(path, random_params(cell), cell)
    head = header(path)
    assert head.pop("__metadata__") == {
        "format": "lstm_jax",
        "format_version": "1",
        "gate_order": "ifgo",
        "library_version": lj.__version__,
        "params": "Directions,LSTMParams,LSTMParams",
        "cell": "Stack(cells=(Bidirectional(forward=LSTM(input_size=3, hidden_size=5),"
        " backward=LSTM(input_size=3, hidden_size=5)),))",
    }
    parts = ("kernel", "recurrent_kernel", "bias")
    names = {f"layers_0.{side}.{part}" for side in ("forward", "backward") for part in parts}
    assert head.keys() == names
    read = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(
        read["layers_0.backward.bias"], random_params(cell)[0].backward.bias
    )


def test_eleven_layers_keep_their_order(tmp_path):
    cell = lj.stack([lj.LSTM(1, 1)] * 11)
    params = tuple(
        jax.tree.map(lambda leaf, k=k: jnp.full(leaf.shape, k, leaf.dtype), layer)
        for k, layer in enumerate(jax.eval_shape(cell.init, jax.random.key(0)))
    )
    ours.save(tmp_path / "model", params)
    assert [int(layer.bias[0]) for layer in ours.load(tmp_path / "model")] == [*range(11)]


PLAIN = {"format": "lstm_jax", "format_version": "1", "gate_order": "ifgo"}
BIAS = {"bias": np.ones(20, np.float32)}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not saved by lstm_jax: its format is None; load it with the safetensors"),
        ({"format": "pt"}, "not saved by lstm_jax: its format is 'pt'"),
        (
            PLAIN | {"format_version": "2"},
            "has format version '2'; this version of lstm_jax supports 1;",
        ),
        (PLAIN | {"format_version": "new"}, "has format version 'new'"),
        ({"format": "lstm_jax", "gate_order": "ifgo"}, "has format version ''"),
        (PLAIN | {"gate_order": "igfo"}, "has gate order 'igfo' instead of 'ifgo'"),
        (PLAIN, "contains bias of an unnamed cell: pass the cell"),
        (PLAIN | {"cell": "GRU(...)"}, "contains bias of GRU(...): pass the cell"),
    ],
)
def test_files_of_other_formats_are_refused(tmp_path, metadata, message):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(BIAS, path, metadata)
    message = re.escape(f"safetensors.load: {path}: {message}")
    with pytest.raises(ValueError, match=f"^{message}"):
        ours.load(path)


def test_params_of_another_cell_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    ours.save(path, random_params(lj.LSTM(3, 5)))
    message = r"safetensors.load: .*: kernel must have shape \(4, 20\); got \(3, 20\)"
    with pytest.raises(ValueError, match=message):
        ours.load(path, lj.LSTM(4, 5))
    with pytest.raises(ValueError, match=r"load: .*: parameters must be layers_0/kernel"):
        ours.load(path, lj.stack(lj.LSTM(3, 5)))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"safetensors.save: kernel must have shape"):
        ours.save(path, random_params(lj.LSTM(3, 5)), lj.LSTM(4, 5))
    with pytest.raises(
        ValueError, match=r"safetensors.save: a parameter name must not contain dots"
    ):
        ours.save(path, {"a.b": jnp.ones(3)})
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, cut):
    path = tmp_path / "model.safetensors"
    ours.save(path, random_params(lj.LSTM(3, 5)))
    path.write_bytes(path.read_bytes()[:cut])
    message = re.escape(f"safetensors.load: {path}: not a complete safetensors file: ")
    with pytest.raises(ValueError, match=message):
        ours.load(path)


def test_a_missing_file_raises_file_not_found():
    with pytest.raises(FileNotFoundError):
        ours.load("nowhere.safetensors")


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_an_error_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path, monkeypatch, fails):
    path = tmp_path / "model.safetensors"
    ours.save(path, random_params(lj.LSTM(3, 5)))
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="no space left"):
        ours.save(path, random_params(lj.LSTM(3, 6)))
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before
    monkeypatch.undo()
    ours.save(path, random_params(lj.LSTM(3, 6)))
    assert [*tmp_path.iterdir()] == [path]
    assert ours.load(path).kernel.shape == (3, 24)


def test_a_file_has_the_default_permissions(tmp_path):
    ours.save(tmp_path / "model", random_params(lj.LSTM(3, 5)))
    (tmp_path / "other").write_bytes(b"")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["load", "save"])
def test_without_safetensors_the_error_names_the_extra(monkeypatch, name):
    for module in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    message = f"safetensors.{name}: safetensors is not installed; install lstm_jax[convert]"
    with pytest.raises(ImportError, match=f"^{re.escape(message)}"):
        getattr(ours, name)(*("x", {})[: 1 + (name == "save")])
