"""Files of `torch.save` without PyTorch: those it wrote, and those that somebody else did."""

import os
import pickle
import re
import struct
import sys
import time
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_jax.convert import torch
from tests.helpers.conversions import GOLDEN, same, vector

STORED = (GOLDEN / "lstm.pt").read_bytes()


def refused(path, message):
    return pytest.raises(
        ValueError, match=f"^{re.escape(f'torch.load_file: {path}: ')}.*{re.escape(message)}"
    )


def test_a_state_dict():
    read = torch.load_file(GOLDEN / "lstm.pt")
    weights = vector("torch", "one").weights
    assert [*read] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert same(read, weights)
    assert same(torch.to_params(read), torch.to_params(weights))


@pytest.mark.parametrize("file", ["checkpoint.pt", "protocol_4.pt"])
def test_a_checkpoint(file):
    read = torch.load_file(GOLDEN / file)
    encoder = vector("torch", "two_layers").weights
    bfloat16 = {name: array.astype(jnp.bfloat16) for name, array in encoder.items()}
    params = torch.to_params(read["model"], prefix="encoder.")
    assert same(params, torch.to_params(bfloat16))
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


def test_arrays_cannot_be_written_to():
    array = torch.load_file(GOLDEN / "lstm.pt")["bias_ih_l0"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize("file", ["lstm.pt", "checkpoint.pt"])
def test_the_other_byte_order(tmp_path, file):
    other = {"little": "big", "big": "little"}[sys.byteorder]
    read = torch.load_file(GOLDEN / file)
    # What is read from a file whose numbers are not turned round is all turned round.
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
    with refused(path, f"its byte order is '{'m' * 79}, neither little nor big"):
        torch.load_file(path)


def rewritten(folder, file, change, compression=zipfile.ZIP_STORED):
    """A file with other bytes in some members; without those that are None."""
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
        assert same(torch.load_file(path), torch.load_file(GOLDEN / "lstm.pt"))


def made(folder, program, **members):
    """A file with a pickle of one's own."""
    path = folder / "made.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for name, data in members.items():
            file.writestr(f"archive/data/{name.removeprefix('_')}", data)
    return path


class Runs:
    """Would make a file when unpickled."""

    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_file_is_not_run(tmp_path, protocol):
    trace = tmp_path / "ran"
    evil = pickle.dumps({"weight": Runs(trace)}, protocol)
    path = made(tmp_path, evil)
    with pytest.raises(ValueError, match=r"names posix\.system, which is not run|not followed"):
        torch.load_file(path)
    assert not trace.exists()
    pickle.loads(evil)
    assert trace.exists()  # it would have been


def text(string):
    return pickle.BINUNICODE + struct.pack("<I", len(string)) + string.encode()


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"
DICT = b"ccollections\nOrderedDict\n"


def storage(numel=4, kind=FLOATS, key="0"):
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(numel) + b"tQ"


def number(n):
    return pickle.BININT + struct.pack("<i", n)


def long(n):
    return pickle.LONG1 + bytes([(size := n.bit_length() // 8 + 1)]) + n.to_bytes(size, "little")


def several(*numbers):
    return b"(" + b"".join(map(number, numbers)) + b"t"


def tensor(offset=0, size=(4,), stride=(1,), of=None):
    arguments = (of or storage()) + number(offset) + several(*size) + several(*stride)
    return TENSOR + b"(" + arguments + pickle.NEWFALSE + DICT + b")R" + b"tR"


NUMBERS = np.arange(4, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    ("offset", "size", "stride", "numbers"),
    [
        (0, (4,), (1,), [0, 1, 2, 3]),
        (1, (3,), (1,), [1, 2, 3]),
        (0, (2, 2), (1, 2), [[0, 2], [1, 3]]),
        (2, (), (), 2),
        (3, (1, 1), (1000, 1000), [[3]]),
        (0, (2, 2), (0, 1), [[0, 1]] * 2),
        (0, (2, 2), (1, 1), [[0, 1], [1, 2]]),
        (4, (0,), (1,), []),
    ],
)
def test_views_of_a_storage(tmp_path, offset, size, stride, numbers):
    path = made(tmp_path, tensor(offset, size, stride) + b".", _0=NUMBERS)
    assert torch.load_file(path).tolist() == numbers


@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (1, (4,), (1,), "reaches number 4 of a storage of 4"),
        (0, (5,), (1,), "reaches number 4"),
        (0, (2, 2), (3, 1), "reaches number 4"),
        (0, (2**30, 2**30), (2**30, 1), "reaches number"),
        (4, (), (), "reaches number 4"),
        (-1, (4,), (1,), "no whole numbers for offset, size and stride: -1, 4, 1"),
        (0, (-4,), (1,), "no whole numbers for offset, size and stride: 0, -4, 1"),
        (3, (4,), (-1,), "no whole numbers for offset, size and stride: 3, 4, -1"),
        (0, (4,), (1, 1), "no whole numbers"),
        (0, (5,), (0,), "size (5,), stride (0,), offset 0 has more numbers than its storage of 4"),
        (0, (3, 2), (0, 1), "has more numbers than its storage of 4"),
        (0, (2**20,) * 9, (0,) * 9, "has more numbers than its storage of 4"),
    ],
)
def test_a_view_beyond_a_storage_is_refused(tmp_path, offset, size, stride, message):
    path = made(tmp_path, tensor(offset, size, stride) + b".", _0=NUMBERS)
    with refused(path, message):
        torch.load_file(path)


MEMO = b"\x94"  # what is on top, to be taken again by number
TAKE = pickle.BINGET


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (tensor(of=storage(5)), "data/0 must have 5 numbers of float32, 20 bytes; it has 16"),
        (tensor(of=storage(3)), "data/0 must have 3 numbers of float32, 12 bytes; it has 16"),
        (tensor(of=storage(key="1")), "data/1 is missing"),
        (tensor(of=storage(key="../data.pkl")), "data/../data.pkl is missing"),
        (tensor(of=storage(kind=DICT)), "a storage is told of as a tuple"),
        (tensor(of=storage(kind=text("torch.FloatStorage"))), "a storage is told of as a tuple"),
        (tensor(of=storage(kind=b"ctorch\nQInt8Storage\n")), "names torch.QInt8Storage"),
        (
            b"]" + tensor() + b"a" + tensor(of=storage(kind=b"ctorch\nIntStorage\n")) + b"a",
            "data/0 is used as float32 and as int32",
        ),
        (tensor(of=text("0")), "calls torch._utils._rebuild_tensor_v2 with '0', 0, a tuple"),
        (TENSOR + b")R", "calls torch._utils._rebuild_tensor_v2 with nothing"),
        (DICT + b"(" + number(3) + b"tR", "calls collections.OrderedDict with 3"),
        (FLOATS + b")R", "calls torch.FloatStorage with nothing"),
        (b"ctorch._utils\n_rebuild_parameter\n(" + number(3) + b"tR", "_rebuild_parameter with 3"),
        (tensor() + b")R", "calls a ndarray with nothing"),
        (storage(), "holds a storage where a value must be"),
        (b"(" + FLOATS + b"t", "holds torch.FloatStorage where a value must be"),
        (b"}" + text("a") + TENSOR + b"s", "holds torch._utils._rebuild_tensor_v2 where a value"),
        (tensor() + b"}b", "sets the state of a ndarray, not of a dict"),
        (FLOATS + b"}b", "sets the state of torch.FloatStorage, not of a dict"),
        (b"(" + number(1) + b"t" + number(1) + b"a", "of a tuple, not of a list"),
        (b"}" + b")" + number(1) + b"s", "a key must be a string or an int64; got a tuple"),
        (b"}" + tensor() + number(1) + b"s", "got a ndarray"),
        (b"}" + pickle.BINFLOAT + bytes(8) + b"Ns", "a string or an int64; got 0.0"),
        (b"}" + pickle.NEWTRUE + b"Ns", "a string or an int64; got True"),
        (b"}" + long(2**63) + b"Ns", "a string or an int64; got 9223372036854775808"),
        (b"}" + 2 * (number(7) + b"Ns"), "a dict has the key 7 twice"),
        (b"cbuiltins\neval\n", "names builtins.eval, which is not run"),
        (b"ctorch\nFloatStorage.__init__\n", "names torch.FloatStorage.__init__"),
        (text("os") + text("system") + pickle.STACK_GLOBAL, "names os.system"),
        (b")" + text("system") + pickle.STACK_GLOBAL, "names a tuple"),
        (b"(" + b"ios\nsystem\n", "the instruction INST"),
        (DICT + b")" + pickle.NEWOBJ, "the instruction NEWOBJ"),
        (pickle.EXT1 + b"\x01", "the instruction EXT1"),
        (b"Pname\n", "the instruction PERSID"),
        (pickle.EMPTY_SET, "the instruction EMPTY_SET"),
        (b"", "does not come to one result"),
        (b"N" + b"N", "does not come to one result"),
        (b"(" + b"N", "does not come to one result"),
        (b"a", "takes more than there is"),
        (b"]" + b"(" + b"a", "takes more than there is"),
        (b"t", "IndexError"),
        (b"h\x07", "IndexError"),
        (b"}" + pickle.LONG_BINPUT + b"\xff\xff\xff\xff", "numbers what it keeps in no order"),
        (b"\xff", "opcode b'\\xff' unknown"),
        (pickle.BINUNICODE + b"\xff\xff\xff\xff", "expected 4294967295 bytes"),
    ],
)  # fmt: skip
def test_a_pickle_that_does_anything_else_is_refused(tmp_path, program, message):
    path = made(tmp_path, program + b".", _0=NUMBERS)
    with refused(path, message):
        torch.load_file(path)


def test_a_pickle_without_an_end_is_refused(tmp_path):
    path = made(tmp_path, b"}")
    with refused(path, "pickle exhausted before seeing STOP"):
        torch.load_file(path)


def doubled(times):
    """Lists that each hold the one before them twice; written out, a list without end."""
    lists = (b"]" + 2 * (TAKE + bytes([k]) + b"a") + MEMO for k in range(times))
    return b"(]" + MEMO + b"".join(lists) + b"t"


@pytest.mark.parametrize(
    "program",
    [
        doubled(60),
        b"]" + MEMO + TAKE + b"\0a",  # in itself
        b"]" * 50_000 + b"a" * 49_999,  # deep
        b"}(" + b"".join(number(n) + b"N" for n in range(2**14)) + b"u",
    ],
)
def test_a_small_file_takes_little_time_and_memory(tmp_path, program):
    path, before = made(tmp_path, program + b".", _0=NUMBERS), time.perf_counter()
    torch.load_file(path)
    assert time.perf_counter() - before < 5
    with refused(path, "sets the state of a tuple, not of a dict"):  # not of all that it holds
        torch.load_file(made(tmp_path, b"(" + program + b"t}b.", _0=NUMBERS))


@pytest.mark.parametrize(
    ("step", "message"), [(2**61 - 1, "or an int64"), (1, "has more than 16384 of them")]
)
def test_a_dict_of_chosen_hashes_is_refused(tmp_path, step, message):
    """A number's hash is its remainder by 2**61 - 1."""
    keys = b"".join(long(k * step) + b"N" for k in range(2**14 + 1))
    path = made(tmp_path, b"}(" + keys + b"u.")
    with refused(path, message):
        torch.load_file(path)


@pytest.mark.parametrize(
    "program",
    [
        text("n" * 10**6) + text("system") + pickle.STACK_GLOBAL,
        tensor(of=storage(key="n" * 10**6)),
        tensor(size=(9,) * 10**5, stride=(9,)),
        tensor(size=(9,) * 10**5, stride=(0,) * 10**5),
        b"S" + b"n" * 10**6 + b"\n",  # what pickletools says of it
    ],
)
def test_a_message_is_short_whatever_a_file_says(tmp_path, program):
    path = made(tmp_path, program + b".", _0=NUMBERS)
    with pytest.raises(ValueError, match=r"^torch.load_file: ") as caught:
        torch.load_file(path)
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("module.pt", "names torch.nn.modules.rnn.LSTM, which is not run; a file of model.state"),
        ("before_1_6.pt", "written before PyTorch 1.6; a newer one can load and save it anew"),
        ("torch.npz", "not of torch.save: 0 members are called data.pkl"),
        ("make.py", "no zip, which torch.save has written since PyTorch 1.6"),
    ],
)
def test_another_file_is_refused(file, message):
    with refused(GOLDEN / file, message):
        torch.load_file(GOLDEN / file)


def test_members_that_are_not_as_torch_writes_them_are_refused(tmp_path):
    path = rewritten(tmp_path, GOLDEN / "lstm.pt", {}, zipfile.ZIP_DEFLATED)
    with refused(path, "is compressed, which torch.save never does"):
        torch.load_file(path)
    path = rewritten(tmp_path, GOLDEN / "lstm.pt", {"data/2": None})
    with refused(path, "data/2 is missing"):
        torch.load_file(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/data.pkl", b"N.")
    with refused(path, "2 members are called data.pkl"):
        torch.load_file(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = tmp_path / "overlap.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"N.")
        file.writestr("archive/data/0", b"0" * 10_000)
        info = file.getinfo("archive/data/0")
        for k in range(1, 100):  # the same bytes under other names
            again = zipfile.ZipInfo(f"archive/data/{k}")
            again.header_offset, again.CRC = info.header_offset, info.CRC
            again.file_size, again.compress_size = info.file_size, info.compress_size
            file.filelist.append(again)
            file.NameToInfo[again.filename] = again
        file._didModify = True
    with refused(path, "its members claim more bytes than it has"):
        torch.load_file(path)


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        torch.load_file("nowhere.pt")


@pytest.mark.parametrize("length", [0, 1, 4, 20, 500, 1000, 2000, len(STORED) - 1])
def test_a_file_cut_short_is_refused(tmp_path, length):
    path = tmp_path / "cut.pt"
    path.write_bytes(STORED[:length])
    with refused(path, "cut short: a zip without its end" if length >= 4 else "no zip"):
        torch.load_file(path)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(STORED) - 1), st.integers(0, 255)), min_size=1))
def test_a_damaged_file_is_refused_or_read_as_it_was(tmp_path_factory, changes):
    data = bytearray(STORED)
    for place, byte in changes:
        data[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "file.pt"
    path.write_bytes(data)
    try:
        right = same(torch.load_file(path), torch.load_file(GOLDEN / "lstm.pt"))
    except ValueError as error:
        right = str(error).startswith(f"torch.load_file: {path}: ")
    assert right
