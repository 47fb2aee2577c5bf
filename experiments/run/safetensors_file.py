"""Files in the safetensors format, written and read a part at a time.

The format is eight bytes with the length of a header, the header in JSON, and the numbers of all
tensors one after the other. The package ``safetensors`` reads these files; it is not used here, as
its NumPy interface needs all tensors in memory at once and knows fewer dtypes.
"""

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
from typing_extensions import Buffer

from experiments.run.read_file import form_error, parse_json

_DTYPES = {
    "BOOL": bool, "U8": "u1", "I8": "i1", "U16": "u2", "I16": "i2", "U32": "u4", "I32": "i4",
    "U64": "u8", "I64": "i8", "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8",
    "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
DTYPES = {name: np.dtype(dtype) for name, dtype in _DTYPES.items()}
"""NumPy's dtypes by the names of the format."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

_MOST_HEADER_BYTES = 100_000_000  # the limit of the package


class Tensor(NamedTuple):
    """A tensor of a file: its numbers are read where they are used."""

    dtype: np.dtype
    shape: tuple[int, ...]
    array: np.ndarray


def file_chunks(
    tensors: Mapping[str, jax.Array | np.ndarray], metadata: Mapping[str, str]
) -> Iterator[Buffer]:
    """The content of a file: the header, then each tensor, copied to the host one at a time.

    Args:
      tensors: arrays by name.
      metadata: text by name.

    Raises:
      ValueError: for a dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in tensors.items():
        dtype = np.dtype(array.dtype)
        if dtype not in DTYPE_NAMES:
            raise ValueError(f"{name}: a checkpoint holds no {dtype.name}")
        begin, end = end, end + dtype.itemsize * array.size
        header[name] = {
            "dtype": DTYPE_NAMES[dtype], "shape": list(array.shape), "data_offsets": [begin, end],
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for array in tensors.values():
        # As bytes: NumPy has no buffers of bfloat16.
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def map_file(handle: int) -> Buffer:
    """The content of an open file, whose pages are read when they are used."""
    size = os.fstat(handle).st_size
    return mmap.mmap(handle, size, access=mmap.ACCESS_READ) if size else b""


def read_file(data: Buffer) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file.

    Args:
      data: the content.

    Returns:
      Tensors by name, whose arrays are views of `data`; and the metadata.

    Raises:
      ValueError: if it is not a complete file.
    """
    view = memoryview(data)
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > min(len(view) - 8, _MOST_HEADER_BYTES):
        raise ValueError("the header is not complete")
    header = parse_json(bytes(view[8 : 8 + length]))
    if (reason := form_error(header, {"__metadata__": {...: str}, ...: dict})) is not None:
        raise ValueError(reason)
    metadata = header.pop("__metadata__")
    body, tensors = view[8 + length :], {}
    for name, entry in header.items():
        form = {"dtype": str, "shape": [int], "data_offsets": [int]}
        if (reason := form_error(entry, form, name)) is not None:
            raise ValueError(reason)
        dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if dtype is None or min(shape, default=0) < 0 or len(entry["data_offsets"]) != 2:
            raise ValueError(f"{name}: not a tensor")
        begin, end = entry["data_offsets"]
        count = 1
        for size in shape:
            count *= size
        if not 0 <= begin <= end <= len(body) or end - begin != count * dtype.itemsize:
            raise ValueError(f"{name}: its bytes are not in the file")
        numbers = np.frombuffer(body[begin:end], np.uint8)
        tensors[name] = Tensor(dtype, shape, numbers.view(dtype).reshape(shape))
    return tensors, metadata
