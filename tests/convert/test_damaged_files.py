"""Damaged files of every format raise a ValueError that names the file, soon, in little memory."""

import errno
import re
import resource
import time
import zipfile

import numpy as np
import onnx as onnx_library
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

import lstm_jax as lj
from lstm_jax.convert import onnx, safetensors, torch
from tests.helpers.conversions import GOLDEN, random_params
from tests.helpers.damaged import damaged

DEEP = lj.stack(lj.GRU(3, 4), lj.bidirectional(lj.LSTM(4, 2)))
PLAIN = lj.LSTM(3, 5)
WRITTEN = (DEEP, lj.learned_initial_state(lj.PeepholeLSTM(3, 5)))
MOST_SECONDS = 20  # of one file, on a busy machine
MOST_BYTES = 300 * 2**20


def golden(names):
    return {name: ((GOLDEN / name).read_bytes(), ()) for name in names}


def saved(folder):
    """Safetensors files, each loaded with the cell and without."""
    found = {}
    for cell in (PLAIN, DEEP):
        path = folder / "whole.safetensors"
        safetensors.save(path, random_params(cell), cell)
        found |= {f"{cell} {len(given)}": (path.read_bytes(), given) for given in ((), (cell,))}
    return found


FORMATS = {
    "safetensors": (safetensors.load, saved),
    "torch": (
        torch.load_file,
        lambda _: golden(["lstm.pt", "checkpoint.pt", "protocol_4.pt", "before_1_6.pt"]),
    ),
    "onnx": (
        onnx.to_cell,
        lambda _: (
            golden(["torch_script.onnx", "torch_dynamo.onnx"])
            | {
                str(cell): (onnx.from_params(random_params(cell), cell).SerializeToString(), ())
                for cell in WRITTEN
            }
        ),
    ),
}


def memory():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_many(folder, name, count):
    """Damage the files of a format in many ways; return how many could not be read."""
    load, make = FORMATS[name]
    path, files = folder / "damaged", make(folder)
    for file, (data, arguments) in files.items():
        path.write_bytes(data)
        if file != "before_1_6.pt":  # which is refused as it is
            load(path, *arguments)
    errors, before = {}, memory()
    for k in range(count):
        data, arguments = [*files.values()][k % len(files)]
        path.write_bytes(damaged(data, (name, k)))
        began = time.monotonic()
        try:
            load(path, *arguments)
        except ValueError as error:
            errors[k] = error
        assert time.monotonic() - began < MOST_SECONDS, k
    assert memory() - before < MOST_BYTES
    for k, error in errors.items():
        assert type(error) is ValueError, (k, error)
        assert f": {path}: " in str(error), (k, error)
        assert len(str(error)) < 1100 + len(str(path)), (k, error)
    return len(errors)


@pytest.mark.parametrize(("name", "count"), [("safetensors", 150), ("torch", 300), ("onnx", 25)])
def test_a_damaged_file_raises_a_value_error_with_its_name(tmp_path, name, count):
    assert check_many(tmp_path, name, count) > count / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("safetensors", 4000), ("torch", 12_000), ("onnx", 1500)]
)
def test_thousands_of_damaged_files_raise_value_errors_with_their_names(tmp_path, name, count):
    assert check_many(tmp_path, name, count) > count / 2


METADATA = {"format": "lstm_jax", "format_version": "1", "gate_order": "ifgo"}


@pytest.mark.parametrize("cell", [None, PLAIN])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["kernel", "kernel.x"], "has both a parameter kernel and parameters inside of it"),
        (["a.b", "a.b.c"], "has both a parameter b and parameters inside of it"),
        ([".".join(["layers_0"] * 5000)], "a name has more than 100 parts: layers_0.layers_0"),
    ],
)
def test_names_that_contradict_each_other_are_refused(tmp_path, names, message, cell):
    path = tmp_path / "model.safetensors"
    for order in (names, names[::-1]):
        tensors = {name: np.ones(3, np.float32) for name in order}
        save_file(tensors, path, METADATA)
        with pytest.raises(ValueError, match=re.escape(f"safetensors.load: {path}: {message}")):
            safetensors.load(path, cell)


def test_long_names_make_no_long_message(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {f"{k}{'n' * 5000}": np.ones(3, np.float32) for k in range(9)}
    for metadata in ({}, {"cell": "c" * 10**6}, {"format_version": "2" * 10**6}):
        save_file(tensors, path, METADATA | metadata)
        for cell in (None, PLAIN):
            with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as caught:
                safetensors.load(path, cell)
            assert len(str(caught.value)) < 1100 + len(str(path))


def test_bytes_missing_in_front_of_a_zip_archive(tmp_path):
    """The reader of zip archives seeks to a position before the start of such a file."""
    path, data = tmp_path / "model.pt", (GOLDEN / "lstm.pt").read_bytes()
    path.write_bytes(data[:600] + data[602:])
    with pytest.raises(ValueError, match=re.escape(f"torch.load_file: {path}: ")):
        torch.load_file(path)


def test_an_error_of_the_file_system_stays_one_and_names_the_file(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "model.pt"
    path.write_bytes((GOLDEN / "lstm.pt").read_bytes())
    monkeypatch.setattr(zipfile.ZipExtFile, "read", fails)
    with pytest.raises(OSError, match="Input/output error") as caught:
        torch.load_file(path)
    assert caught.value.filename == str(path)
    for load, _ in FORMATS.values():
        with pytest.raises(IsADirectoryError) as caught:
            load(tmp_path)
        assert caught.value.filename in (str(tmp_path), tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load(tmp_path / "nowhere")


HUGE = 2**33


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("Expand", ["W", np.array([HUGE, 20, 3])]),
        ("Tile", ["W", np.array([HUGE, 1, 1])]),
        ("Range", [np.float32(0), np.float32(HUGE), np.float32(1)]),
        ("Resize", ["W", "", np.array([1, 1e6, 1e6], np.float32)]),
        ("MatMul", [np.ones((30_000, 1), np.float32), np.ones((1, 30_000), np.float32)]),
        ("CenterCropPad", ["W", np.array([HUGE, 20, 3])]),
        ("Add", ["weights", "W"]),  # reads its own output
    ],
)
def test_weights_that_a_model_computes_without_bound_are_refused(operator, inputs):
    arrays = {f"in{k}": each for k, each in enumerate(inputs) if not isinstance(each, str)}
    names = [each if isinstance(each, str) else f"in{k}" for k, each in enumerate(inputs)]
    arrays |= {"W": np.ones((1, 20, 3), np.float32), "R": np.ones((1, 20, 5), np.float32)}
    nodes = [
        helper.make_node(operator, names, ["weights"]),
        helper.make_node("LSTM", ["X", "weights", "R"], ["Y"], hidden_size=5),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["t", "b", 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    before = memory()
    with pytest.raises(ValueError, match=r"onnx.to_cell: the bytes of a model: ") as caught:
        onnx.to_cell(model.SerializeToString())
    assert memory() - before < MOST_BYTES
    expected = ["weights must not have the shape", "size of weights is not known", "recursion"]
    assert any(text in str(caught.value) for text in expected)


def test_a_wrong_dtype_in_a_file_is_a_value_error_and_of_a_model_a_type_error(tmp_path):
    model = onnx.from_params(random_params(PLAIN), PLAIN)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.int32), tensor.name))
    with pytest.raises(TypeError, match=r"^onnx.to_cell: .* floating-point numbers; got int32"):
        onnx.to_cell(model)
    path = tmp_path / "model.onnx"
    onnx_library.save(model, path)
    message = re.escape(f"onnx.to_cell: {path}: node ") + ".* floating-point numbers; got int32"
    with pytest.raises(ValueError, match=f"^{message}"):
        onnx.to_cell(path)
