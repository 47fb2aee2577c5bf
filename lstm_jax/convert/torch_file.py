"""Files of `torch.save`, read without PyTorch and without running anything in them.

Such a file is a zip: a pickle of everything but the numbers, and one member with the numbers of
each storage that tensors are views of. A pickle is a program that names functions and calls them.
The one here is not given to `pickle`: `_Program` goes through its instructions, knows the few that
a state dict needs, and refuses all others.
"""

import operator
import os
import pickletools
import sys
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

_DTYPES = {
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(jnp.bfloat16),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
    "torch.ComplexFloatStorage": np.dtype(np.complex64),
    "torch.ComplexDoubleStorage": np.dtype(np.complex128),
    "torch.storage.UntypedStorage": np.dtype(np.uint8),
}
_DICT = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_KNOWN = {_DICT, _TENSOR, _PARAMETER, *_DTYPES}

_NUMBERED = 2**14
"""How many keys a dict with numbers among them may have. An optimizer counts parameters by them. A
number's hash is no secret: many can be chosen so that each takes a dict as long as all before it.
"""

_LONGEST = 300
"""Characters of a message: what a file says may be without end."""

_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a magic number, pickled
_ZIP = b"PK\x03\x04"


class _Name(NamedTuple):
    """Something that a pickle names; it is never looked up."""

    name: str


class _Storage(NamedTuple):
    """Numbers that tensors are views of."""

    data: bytes
    dtype: np.dtype
    numel: int


def load_file(path: str | os.PathLike[str]) -> Any:
    """What a ``.pt`` or ``.pth`` file of PyTorch holds, without PyTorch.

    Nothing in the file is run. It may hold tensors and parameters in dicts, lists and tuples, with
    numbers, strings, true, false and None: a state dict, or one among other things as in
    ``{"model": model.state_dict(), "epoch": 3}``. Tensors that repeat their numbers, as `expand`
    makes them, are refused: copies of them could take any amount of memory.

    Args:
      path: a file that `torch.save` wrote, of PyTorch 1.6 or newer.

    Returns:
      The same with NumPy arrays for tensors, bfloat16 among them. They are read-only views of what
      was read, as tensors may share numbers.

    Raises:
      ValueError: when it is no such file, is damaged, or holds anything else.
      OSError: when it cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    ...     load_file(file.name)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: torch.load_file: ...pt: no zip, which torch.save has written since PyTorch 1.6
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            start = file.read(len(_BEFORE_1_6))
            if start == _BEFORE_1_6:
                raise ValueError(
                    "written before PyTorch 1.6; a newer one can load and save it anew"
                )
            if not zipfile.is_zipfile(file):
                cut = start.startswith(_ZIP)
                raise ValueError(
                    "cut short: a zip without its end"
                    if cut
                    else "no zip, which torch.save has written since PyTorch 1.6"
                )
            with zipfile.ZipFile(file) as archive:
                return _Program(_Members(archive, os.fstat(file.fileno()).st_size)).result()
    except OSError:
        raise
    except Exception as error:  # whatever a damaged file brings zipfile or pickletools to raise
        said = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
        raise ValueError(f"torch.load_file: {path}: {said}") from error


class _Members:
    """The members of such a zip."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive = archive
        self.infos = {info.filename: info for info in archive.infolist()}
        # Stored as they are and side by side, they cannot come to more than the file has.
        if sum(info.file_size for info in self.infos.values()) > size:
            raise ValueError("its members claim more bytes than it has")
        programs = [name for name in self.infos if name.split("/")[1:] == ["data.pkl"]]
        if len(programs) != 1:
            raise ValueError(f"not of torch.save: {len(programs)} members are called data.pkl")
        self.folder = programs[0].removesuffix("data.pkl")
        self.byteorder = "little"
        if f"{self.folder}byteorder" in self.infos:
            self.byteorder = self.read("byteorder").decode()
        if self.byteorder not in ("little", "big"):
            raise ValueError(f"its byte order is {_shown(self.byteorder)}, neither little nor big")

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        info = self.infos.get(self.folder + name)
        if info is None:
            raise ValueError(f"{_cut(name)} is missing")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{_cut(name)} is compressed, which torch.save never does")
        return self.archive.read(info)

    def storage(self, key: str, dtype: np.dtype, count: int) -> _Storage:
        """The numbers of a storage, in the byte order of this machine."""
        data = self.read(f"data/{key}")
        if len(data) != count * dtype.itemsize:
            raise ValueError(
                f"{_cut(f'data/{key}')} must have {count} numbers of {dtype.name},"
                f" {count * dtype.itemsize} bytes; it has {len(data)}"
            )
        if self.byteorder != sys.byteorder:
            width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
            data = np.frombuffer(data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()
        return _Storage(data, dtype, count)


class _Program:
    """The instructions of a pickle, as far as state dicts need them."""

    def __init__(self, members: _Members) -> None:
        self.members = members
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.storages: dict[str, _Storage] = {}

    def result(self) -> Any:
        """What the program leaves behind."""
        for opcode, argument, _ in pickletools.genops(self.members.read("data.pkl")):
            self.follow(opcode.name, argument)
        if len(self.stack) != 1 or self.marks:
            raise ValueError("its pickle is damaged: it does not come to one result")
        for value in _everything(self.stack[0]):
            if isinstance(value, _Name | _Storage):
                what = value.name if isinstance(value, _Name) else "a storage"
                raise ValueError(f"holds {what} where a value must be")
        return self.stack[0]

    def follow(self, opcode: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append(
                    {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[opcode]()
                )
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self.pop(int(opcode[-1]))))
            case "TUPLE":
                stack.append(tuple(self.pop_to_mark()))
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS":
                self.extend(self.pop_to_mark())
            case "SETITEM":
                self.update(self.pop(2))
            case "SETITEMS":
                self.update(self.pop_to_mark())
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                if argument not in (None, len(self.memo)):
                    raise ValueError("its pickle is damaged: it numbers what it keeps in no order")
                self.memo.append(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(_known(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                module, name = self.pop(2)
                stack.append(_known(f"{_text(module)}.{_text(name)}"))
            case "BINPERSID":
                stack.append(self.storage(*self.pop(1)))
            case "REDUCE":
                stack.append(_called(*self.pop(2)))
            case "BUILD":  # an OrderedDict's own attributes, such as the versions of modules
                self.pop(1)
                self.top(dict)
            case _:
                raise ValueError(f"its pickle has the instruction {opcode}, which is not followed")

    def pop(self, count: int) -> list[Any]:
        """The uppermost values."""
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle is damaged: it takes more than there is")
        return [self.stack.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        """The values above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self, kind: type) -> Any:
        """The uppermost value, which must be of a kind."""
        (value,) = self.pop(1)
        if type(value) is not kind:
            raise ValueError(
                f"fills or sets the state of {_shown(value)}, not of a {kind.__name__}"
            )
        self.stack.append(value)
        return value

    def extend(self, values: list[Any]) -> None:
        """Append to the list below."""
        self.top(list).extend(values)

    def update(self, items: list[Any]) -> None:
        """Set keys of the dict below."""
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            numbered = type(key) is int and -(2**63) <= key < 2**63
            if not numbered and not isinstance(key, str):
                raise ValueError(f"a key must be a string or an int64; got {_shown(key)}")
            if numbered and len(target) >= _NUMBERED:
                raise ValueError(f"a dict with numbers for keys has more than {_NUMBERED} of them")
            if key in target:
                raise ValueError(f"a dict has the key {_shown(key)} twice")
            target[key] = value

    def storage(self, identity: Any) -> _Storage:
        """The storage of ``("storage", type, key, device, count)``, read once."""
        match identity:
            case ("storage", _Name(name), str(key), str(), int(count)) if name in _DTYPES:
                dtype = _DTYPES[name]
            case _:
                raise ValueError(f"a storage is told of as {_shown(identity)}")
        if key not in self.storages:
            self.storages[key] = self.members.storage(key, dtype, count)
        known = self.storages[key]
        if (known.dtype, known.numel) != (dtype, count):
            said = f"{known.dtype.name} and as {dtype.name}"
            raise ValueError(f"{_cut(f'data/{key}')} is used as {said}")
        return known


def _known(name: str) -> _Name:
    if name not in _KNOWN:
        raise ValueError(
            f"names {_cut(name)}, which is not run; a file of model.state_dict() has no need of it"
        )
    return _Name(name)


def _called(function: Any, arguments: Any) -> Any:
    """What the three known functions give."""
    match function, arguments:
        case _Name(name), () if name == _DICT:
            return {}
        case _Name(name), (_Storage() as storage, int(offset), tuple(size), tuple(stride), *_) if (
            name == _TENSOR
        ):
            return _tensor(storage, offset, size, stride)
        case _Name(name), (np.ndarray() as data, *_) if name == _PARAMETER:
            return data
        case _:
            given = map(_shown, arguments) if isinstance(arguments, tuple) else [_shown(arguments)]
            raise ValueError(f"calls {_shown(function)} with {', '.join(given) or 'nothing'}")


def _tensor(storage: _Storage, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Any:
    """A view of a storage, once all of it is known to lie in there, and to repeat nothing."""
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        shown = ", ".join(map(_shown, numbers))
        raise ValueError(f"a tensor has no whole numbers for offset, size and stride: {shown}")
    if not all(size):
        return np.empty(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    said = f"a tensor of size {_cut(size)}, stride {_cut(stride)}, offset {_cut(offset)}"
    if last >= storage.numel:
        raise ValueError(f"{said} reaches number {_cut(last)} of a storage of {storage.numel}")
    # Whoever copies a view of one number, over and over, needs memory that the file never had.
    if any(count > storage.numel for count in accumulate(size, operator.mul)):
        raise ValueError(f"{said} has more numbers than its storage of {storage.numel}")
    width = storage.dtype.itemsize
    steps = [width * step for step in stride]
    return np.ndarray(size, storage.dtype, storage.data, offset * width, steps)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"names {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """A value in a message; what may hold others by its kind alone, as it may be without end."""
    if isinstance(value, _Name):
        return value.name
    plain = value is None or isinstance(value, str | int | float)
    return _cut(repr(value)) if plain else f"a {type(value).__name__}"


def _cut(value: Any) -> str:
    return str(value)[:80]


def _everything(value: Any) -> Iterator[Any]:
    """A value and all that it holds, each once, however it is nested."""
    seen, waiting = set(), [value]
    while waiting:
        value = waiting.pop()
        yield value
        if id(value) in seen or isinstance(value, _Name | _Storage):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
