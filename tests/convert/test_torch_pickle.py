"""The pickle of ``.pt`` files: views of storages, and malicious and damaged pickles."""

import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest

from lstm_jax.convert import torch
from tests.helpers.conversions import refused


def made(folder, program, **members):
    """Write a file with this pickle, and data members."""
    path = folder / "made.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for name, data in members.items():
            file.writestr(f"archive/data/{name.removeprefix('_')}", data)
    return path


class Malicious:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_file_is_not_run(tmp_path, protocol):
    trace = tmp_path / "ran"
    evil = pickle.dumps({"weight": Malicious(trace)}, protocol)
    path = made(tmp_path, evil)
    with pytest.raises(
        ValueError, match=r"names posix\.system, which is not allowed|unsupported instruction"
    ):
        torch.load_file(path)
    assert not trace.exists()
    pickle.loads(evil)
    assert trace.exists()  # pickle runs it


def text(string):
    return pickle.BINUNICODE + struct.pack("<I", len(string)) + string.encode()


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"
FLOATS_AS_TEXT = text("torch.FloatStorage")
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
        (1, (4,), (1,), "reads element 4 of a storage with 4"),
        (0, (5,), (1,), "reads element 4"),
        (0, (2, 2), (3, 1), "reads element 4"),
        (0, (2**30, 2**30), (2**30, 1), "reads element"),
        (4, (), (), "reads element 4"),
        (-1, (4,), (1,), "invalid offset, size or stride: -1, 4, 1"),
        (0, (-4,), (1,), "invalid offset, size or stride: 0, -4, 1"),
        (3, (4,), (-1,), "invalid offset, size or stride: 3, 4, -1"),
        (0, (4,), (1, 1), "invalid offset, size or stride"),
        (
            0,
            (5,),
            (0,),
            "size (5,), stride (0,), offset 0 has more elements than its storage with 4",
        ),
        (0, (3, 2), (0, 1), "has more elements than its storage with 4"),
        (0, (2**20,) * 9, (0,) * 9, "has more elements than its storage with 4"),
    ],
)
def test_an_invalid_view_of_a_storage_is_refused(tmp_path, offset, size, stride, message):
    path = made(tmp_path, tensor(offset, size, stride) + b".", _0=NUMBERS)
    with refused(path, message):
        torch.load_file(path)


MEMO = pickle.MEMOIZE
GET = pickle.BINGET


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (tensor(of=storage(5)), "data/0 must have 5 elements of float32, 20 bytes; got 16"),
        (tensor(of=storage(3)), "data/0 must have 3 elements of float32, 12 bytes; got 16"),
        (tensor(of=storage(key="1")), "data/1 is missing"),
        (tensor(of=storage(key="../data.pkl")), "data/../data.pkl is missing"),
        (tensor(of=storage(kind=DICT)), "invalid reference to a storage: a tuple"),
        (tensor(of=storage(kind=FLOATS_AS_TEXT)), "invalid reference to a storage: a tuple"),
        (tensor(of=storage(kind=b"ctorch\nQInt8Storage\n")), "names torch.QInt8Storage"),
        (
            b"]" + tensor() + b"a" + tensor(of=storage(kind=b"ctorch\nIntStorage\n")) + b"a",
            "data/0 is used as float32 and as int32",
        ),
        (tensor(of=text("0")), "calls torch._utils._rebuild_tensor_v2 with '0', 0, a tuple"),
        (TENSOR + b")R", "calls torch._utils._rebuild_tensor_v2 with no arguments"),
        (DICT + b"(" + number(3) + b"tR", "calls collections.OrderedDict with 3"),
        (FLOATS + b")R", "calls torch.FloatStorage with no arguments"),
        (b"ctorch._utils\n_rebuild_parameter\n(" + number(3) + b"tR", "_rebuild_parameter with 3"),
        (tensor() + b")R", "calls a ndarray with no arguments"),
        (storage(), "contains a storage instead of a value"),
        (b"(" + FLOATS + b"t", "contains torch.FloatStorage instead of a value"),
        (b"}" + text("a") + TENSOR + b"s", "contains torch._utils._rebuild_tensor_v2 instead of"),
        (tensor() + b"}b", "sets the state of a ndarray instead of a dict"),
        (FLOATS + b"}b", "sets the state of torch.FloatStorage instead of a dict"),
        (b"(" + number(1) + b"t" + number(1) + b"a", "of a tuple instead of a list"),
        (b"}" + b")" + number(1) + b"s", "a key must be a string or an int64; got a tuple"),
        (b"}" + tensor() + number(1) + b"s", "got a ndarray"),
        (b"}" + pickle.BINFLOAT + bytes(8) + b"Ns", "a string or an int64; got 0.0"),
        (b"}" + pickle.NEWTRUE + b"Ns", "a string or an int64; got True"),
        (b"}" + long(2**63) + b"Ns", "a string or an int64; got 9223372036854775808"),
        (b"}" + 2 * (number(7) + b"Ns"), "a dict has the key 7 twice"),
        (b"cbuiltins\neval\n", "names builtins.eval, which is not allowed"),
        (b"ctorch\nFloatStorage.__init__\n", "names torch.FloatStorage.__init__"),
        (text("os") + text("system") + pickle.STACK_GLOBAL, "names os.system"),
        (b")" + text("system") + pickle.STACK_GLOBAL, "has a tuple instead of a name"),
        (b"(" + b"ios\nsystem\n", "the unsupported instruction INST"),
        (DICT + b")" + pickle.NEWOBJ, "the unsupported instruction NEWOBJ"),
        (pickle.EXT1 + b"\x01", "the unsupported instruction EXT1"),
        (b"Pname\n", "the unsupported instruction PERSID"),
        (pickle.EMPTY_SET, "the unsupported instruction EMPTY_SET"),
        (b"", "does not end with one result"),
        (b"N" + b"N", "does not end with one result"),
        (b"(" + b"N", "does not end with one result"),
        (b"a", "pops from an empty stack"),
        (b"]" + b"(" + b"a", "pops from an empty stack"),
        (b"t", "IndexError"),
        (b"h\x07", "IndexError"),
        (b"}" + pickle.LONG_BINPUT + b"\xff\xff\xff\xff", "memo indices are not consecutive"),
        (b"\xff", "opcode b'\\xff' unknown"),
        (pickle.BINUNICODE + b"\xff\xff\xff\xff", "expected 4294967295 bytes"),
    ],
)  # fmt: skip
def test_an_unsupported_pickle_is_refused(tmp_path, program, message):
    path = made(tmp_path, program + b".", _0=NUMBERS)
    with refused(path, message):
        torch.load_file(path)


def test_a_pickle_without_an_end_is_refused(tmp_path):
    path = made(tmp_path, b"}")
    with refused(path, "pickle exhausted before seeing STOP"):
        torch.load_file(path)


def doubled(times):
    """Nest lists that each contain the previous one twice: their repr has exponential length."""
    lists = (b"]" + 2 * (GET + bytes([k]) + b"a") + MEMO for k in range(times))
    return b"(]" + MEMO + b"".join(lists) + b"t"


@pytest.mark.parametrize(
    "program",
    [
        doubled(60),
        b"]" + MEMO + GET + b"\0a",  # a list that contains itself
        b"]" * 50_000 + b"a" * 49_999,  # deeply nested
        b"}(" + b"".join(number(n) + b"N" for n in range(2**14)) + b"u",
    ],
)
def test_a_small_file_needs_little_time_and_memory(tmp_path, program):
    path, before = made(tmp_path, program + b".", _0=NUMBERS), time.perf_counter()
    torch.load_file(path)
    assert time.perf_counter() - before < 5
    with refused(path, "sets the state of a tuple instead of a dict"):  # without its repr
        torch.load_file(made(tmp_path, b"(" + program + b"t}b.", _0=NUMBERS))


@pytest.mark.parametrize(
    ("step", "message"), [(2**61 - 1, "or an int64"), (1, "has more than 16384 entries")]
)
def test_a_dict_with_colliding_hashes_is_refused(tmp_path, step, message):
    """The hash of an integer is its remainder modulo 2**61 - 1."""
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
        b"S" + b"n" * 10**6 + b"\n",  # in an error of pickletools
    ],
)
def test_error_messages_have_a_bounded_length(tmp_path, program):
    path = made(tmp_path, program + b".", _0=NUMBERS)
    with pytest.raises(ValueError, match=r"^torch.load_file: ") as caught:
        torch.load_file(path)
    assert len(str(caught.value)) < 1100 + len(str(path))
