"""Reading files of `torch.save` without PyTorch: valid, unsupported and damaged files."""

import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_jax.convert import torch
from tests.helpers.conversions import GOLDEN, identical, refused, vector

STORED = (GOLDEN / "lstm.pt").read_bytes()


def test_a_state_dict():
    read = torch.load_file(GOLDEN / "lstm.pt")
    weights = vector("torch", "one").weights
    assert [*read] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert identical(read, weights)
    assert identical(torch.to_params(read), torch.to_params(weights))


@pytest.mark.parametrize("file", ["checkpoint.pt", "protocol_4.pt"])
def test_a_checkpoint(file):
    read = torch.load_file(GOLDEN / file)
    encoder = vector("torch", "two_layers").weights
    bfloat16 = {name: array.astype(jnp.bfloat16) for name, array in encoder.items()}
    params = torch.to_params(read["model"], prefix="encoder.")
    assert identical(params, torch.to_params(bfloat16))
    assert read["model"]["head.weight"].tolist() == [[0.5, -2.0]]
    assert [array.tolist() for array in read["parameters"]] == [[[0.5, -2.0]], [1.0]]
    assert read["turned"].tolist() == [[1.0, 4.0], [2.0, 5.0]]
    assert read["turned"].dtype == np.float64
    assert [array.dtype.name for array in read["counts"]] == ["int8", "int16", "int32", "int64"]
    assert [array.tolist() for array in read["counts"]] == [[1, -2]] * 4
    assert read["half"].dtype == np.float16
    assert read["half"].tolist() == [0.5, -2.0]
    assert read["none"].shape == (0, 3)
    assert read["complex"].tolist() == [1 + 2j]
    assert read["mask"].tolist() == [True, False]
    assert (read["epoch"], read["rate"], read["name"]) == (3, 0.5, ("lstm", None, True))


def test_arrays_are_read_only():
    array = torch.load_file(GOLDEN / "lstm.pt")["bias_ih_l0"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize("file", ["lstm.pt", "checkpoint.pt"])
def test_a_file_of_the_other_byte_order(tmp_path, file):
    other = {"little": "big", "big": "little"}[sys.byteorder]
    read = torch.load_file(GOLDEN / file)
    # The file claims the other byte order, but its data are unchanged, so all are swapped.
    path = rewritten(tmp_path, GOLDEN / file, {"byteorder": other.encode()})
    turned = torch.load_file(path)
    tree = [read, turned] if file == "lstm.pt" else [read["model"], turned["model"]]
    for a, b in zip(*(part.values() for part in tree), strict=True):
        raw = np.uint32 if a.dtype == np.float32 else np.uint16
        np.testing.assert_array_equal(
            np.ascontiguousarray(a).view(raw).byteswap(), np.ascontiguousarray(b).view(raw)
        )
    if file == "checkpoint.pt":
        assert turned["counts"][0].tolist() == [1, -2]
        swapped = read["complex"].view(np.uint32).byteswap().view(np.complex64)
        np.testing.assert_array_equal(turned["complex"], swapped)
    path = rewritten(tmp_path, GOLDEN / file, {"byteorder": b"m" * 10**6})
    with refused(path, f"its byte order must be little or big; got '{'m' * 79}"):
        torch.load_file(path)


def rewritten(folder, file, change, compression=zipfile.ZIP_STORED):
    """Copy a file with the bytes of some members changed; None removes a member."""
    path = folder / "changed.pt"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", compression) as new:
        members = {name.split("/", 1)[1]: old.read(name) for name in old.namelist()} | change
        for name, data in members.items():
            if data is not None:
                new.writestr(f"archive/{name}", data)
    return path


def test_a_file_without_a_byte_order_is_little_endian(tmp_path):
    path = rewritten(tmp_path, GOLDEN / "lstm.pt", {"byteorder": None})
    if sys.byteorder == "little":
        assert identical(torch.load_file(path), torch.load_file(GOLDEN / "lstm.pt"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("module.pt", "names torch.nn.modules.rnn.LSTM, which is not allowed; save model.state"),
        (
            "before_1_6.pt",
            "written by PyTorch before 1.6; load and save it again with a newer version",
        ),
        ("torch.npz", "not written by torch.save: it has 0 members data.pkl"),
        ("make.py", "not a zip archive, as torch.save writes since PyTorch 1.6"),
    ],
)
def test_files_not_written_by_torch_save_are_refused(file, message):
    with refused(GOLDEN / file, message):
        torch.load_file(GOLDEN / file)


def test_compressed_missing_and_duplicate_members_are_refused(tmp_path):
    path = rewritten(tmp_path, GOLDEN / "lstm.pt", {}, zipfile.ZIP_DEFLATED)
    with refused(path, "is compressed, unlike in files of torch.save"):
        torch.load_file(path)
    path = rewritten(tmp_path, GOLDEN / "lstm.pt", {"data/2": None})
    with refused(path, "data/2 is missing"):
        torch.load_file(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/data.pkl", b"N.")
    with refused(path, "it has 2 members data.pkl"):
        torch.load_file(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = tmp_path / "overlap.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"N.")
        file.writestr("archive/data/0", b"0" * 10_000)
        info = file.getinfo("archive/data/0")
        for k in range(1, 100):  # many members with the same bytes
            again = zipfile.ZipInfo(f"archive/data/{k}")
            again.header_offset, again.CRC = info.header_offset, info.CRC
            again.file_size, again.compress_size = info.file_size, info.compress_size
            file.filelist.append(again)
            file.NameToInfo[again.filename] = again
        file._didModify = True
    with refused(path, "the sizes of its members exceed the size of the file"):
        torch.load_file(path)


def test_a_missing_file_raises_file_not_found():
    with pytest.raises(FileNotFoundError):
        torch.load_file("nowhere.pt")


@pytest.mark.parametrize("length", [0, 1, 4, 20, 500, 1000, 2000, len(STORED) - 1])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "cut.pt"
    path.write_bytes(STORED[:length])
    with refused(
        path, "truncated: a zip archive without its end" if length >= 4 else "not a zip archive"
    ):
        torch.load_file(path)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(STORED) - 1), st.integers(0, 255)), min_size=1))
def test_a_damaged_file_is_refused_or_read_correctly(tmp_path_factory, changes):
    data = bytearray(STORED)
    for place, byte in changes:
        data[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "file.pt"
    path.write_bytes(data)
    try:
        right = identical(torch.load_file(path), torch.load_file(GOLDEN / "lstm.pt"))
    except ValueError as error:
        right = str(error).startswith(f"torch.load_file: {path}: ")
    assert right
