"""The pickle inside a ``.pt`` file: an interpreter for the few instructions that state dicts need.

A pickle is a program that names functions and calls them, so `pickle.load` of a malicious file runs
its code. `unpickle` instead interprets the instructions itself: it supports those of dicts, lists,
tuples, plain values and tensors, looks no name up, and refuses everything else.
"""

import operator
import pickletools
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_jax.convert.file_errors import shorten

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
_ALLOWED_NAMES = {_DICT, _TENSOR, _PARAMETER, *_DTYPES}

_MAX_INT_KEYS = 2**14
"""The largest size of a dict with integer keys, which the state of an optimizer has. Hashes of
integers are predictable: a file could choose keys that all collide, and then each insertion takes
time proportional to the size of the dict.
"""

ReadStorage = Callable[[str, np.dtype, int], bytes]
"""Reads a storage by its key, dtype and number of elements, in the byte order of this machine."""


class _Global(NamedTuple):
    """A function or class that the pickle names; it is never looked up."""

    name: str


class _Storage(NamedTuple):
    """The data that tensors are views of."""

    data: bytes
    dtype: np.dtype
    numel: int


def unpickle(program: bytes, read_storage: ReadStorage) -> Any:
    """Return the value of a pickle that contains only plain values and tensors.

    Args:
      program: the pickle.
      read_storage: reads the data of tensors.

    Returns:
      Nested dicts, lists and tuples of plain values and read-only NumPy arrays.

    Raises:
      ValueError: when the pickle is damaged or contains anything else. A damaged one may cause
        other exceptions as well.

    >>> import pickle
    >>> unpickle(pickle.dumps({"epoch": 3}), lambda key, dtype, numel: b"")
    {'epoch': 3}
    >>> unpickle(pickle.dumps(print), lambda key, dtype, numel: b"")
    Traceback (most recent call last):
    ValueError: names builtins.print, which is not allowed; save model.state_dict() instead
    """
    return _Interpreter(read_storage).run(program)


class _Interpreter:
    """The state of a pickle's interpreter: a stack, marks in it, and a memo."""

    def __init__(self, read_storage: ReadStorage) -> None:
        self.read_storage = read_storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.storages: dict[str, _Storage] = {}

    def run(self, program: bytes) -> Any:
        """Execute all instructions and return the result."""
        for opcode, argument, _ in pickletools.genops(program):
            self.execute(opcode.name, argument)
        if len(self.stack) != 1 or self.marks:
            raise ValueError("its pickle is damaged: it does not end with one result")
        for value in _walk(self.stack[0]):
            if isinstance(value, _Global | _Storage):
                found = value.name if isinstance(value, _Global) else "a storage"
                raise ValueError(f"contains {found} instead of a value")
        return self.stack[0]

    def execute(self, opcode: str, argument: Any) -> None:
        """Execute one instruction."""
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
                    raise ValueError("its pickle is damaged: memo indices are not consecutive")
                self.memo.append(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(_allowed_global(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                module, name = self.pop(2)
                stack.append(_allowed_global(f"{_check_text(module)}.{_check_text(name)}"))
            case "BINPERSID":
                stack.append(self.storage(*self.pop(1)))
            case "REDUCE":
                stack.append(_call(*self.pop(2)))
            case "BUILD":  # attributes of an OrderedDict, such as the versions of modules
                self.pop(1)
                self.top(dict)
            case _:
                raise ValueError(f"its pickle has the unsupported instruction {opcode}")

    def pop(self, count: int) -> list[Any]:
        """Pop values from the stack, not beyond the last mark."""
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle is damaged: it pops from an empty stack")
        return [self.stack.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        """Pop the last mark and the values above it."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self, kind: type) -> Any:
        """Return the top of the stack, which must have a certain type."""
        (value,) = self.pop(1)
        if type(value) is not kind:
            raise ValueError(
                f"fills or sets the state of {_describe(value)} instead of a {kind.__name__}"
            )
        self.stack.append(value)
        return value

    def extend(self, values: list[Any]) -> None:
        """Append values to the list at the top."""
        self.top(list).extend(values)

    def update(self, items: list[Any]) -> None:
        """Set items, alternating keys and values, of the dict at the top."""
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            is_int = type(key) is int and -(2**63) <= key < 2**63
            if not is_int and not isinstance(key, str):
                raise ValueError(f"a key must be a string or an int64; got {_describe(key)}")
            if is_int and len(target) >= _MAX_INT_KEYS:
                raise ValueError(f"a dict with integer keys has more than {_MAX_INT_KEYS} entries")
            if key in target:
                raise ValueError(f"a dict has the key {_describe(key)} twice")
            target[key] = value

    def storage(self, identity: Any) -> _Storage:
        """Return the storage ``("storage", type, key, device, numel)``; each is read once."""
        match identity:
            case ("storage", _Global(name), str(key), str(), int(numel)) if name in _DTYPES:
                dtype = _DTYPES[name]
            case _:
                raise ValueError(f"has an invalid reference to a storage: {_describe(identity)}")
        if key not in self.storages:
            self.storages[key] = _Storage(self.read_storage(key, dtype, numel), dtype, numel)
        storage = self.storages[key]
        if (storage.dtype, storage.numel) != (dtype, numel):
            raise ValueError(
                f"{shorten(f'data/{key}')} is used as {storage.dtype.name} and as {dtype.name}"
            )
        return storage


def _allowed_global(name: str) -> _Global:
    if name not in _ALLOWED_NAMES:
        raise ValueError(
            f"names {shorten(name)}, which is not allowed; save model.state_dict() instead"
        )
    return _Global(name)


def _call(function: Any, arguments: Any) -> Any:
    """Return the result of one of the three supported functions."""
    name = function.name if isinstance(function, _Global) else None
    match arguments:
        case () if name == _DICT:
            return {}
        case (_Storage() as storage, int(offset), tuple(size), tuple(stride), *_) if (
            name == _TENSOR
        ):
            return _tensor(storage, offset, size, stride)
        case (np.ndarray() as data, *_) if name == _PARAMETER:
            return data
        case _:
            given = arguments if isinstance(arguments, tuple) else [arguments]
            listed = ", ".join(map(_describe, given)) or "no arguments"
            raise ValueError(f"calls {_describe(function)} with {listed}")


def _tensor(storage: _Storage, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Any:
    """Return a view of a storage, after checks that it is inside and has no more elements."""
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        listed = ", ".join(map(_describe, numbers))
        raise ValueError(f"a tensor has an invalid offset, size or stride: {listed}")
    if not all(size):
        return np.empty(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    view = f"a tensor of size {shorten(size)}, stride {shorten(stride)}, offset {shorten(offset)}"
    if last >= storage.numel:
        raise ValueError(f"{view} reads element {shorten(last)} of a storage with {storage.numel}")
    # A copy of a view that repeats elements can need far more memory than the file has bytes.
    if any(count > storage.numel for count in accumulate(size, operator.mul)):
        raise ValueError(f"{view} has more elements than its storage with {storage.numel}")
    itemsize = storage.dtype.itemsize
    strides = [itemsize * step for step in stride]
    return np.ndarray(size, storage.dtype, storage.data, offset * itemsize, strides)


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"has {_describe(value)} instead of a name")
    return value


def _describe(value: Any) -> str:
    """Describe a value in a message; a container by its type, as its repr may be unbounded."""
    if isinstance(value, _Global):
        return value.name
    plain = value is None or isinstance(value, str | int | float)
    return shorten(repr(value)) if plain else f"a {type(value).__name__}"


def _walk(value: Any) -> Iterator[Any]:
    """Iterate over a value and all nested values, each once, without recursion."""
    seen, pending = set(), [value]
    while pending:
        value = pending.pop()
        yield value
        if id(value) in seen or isinstance(value, _Global | _Storage):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
