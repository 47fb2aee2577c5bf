"""Read ``.pt`` files of `torch.save` without PyTorch, and without running code in them.

Such a file is a zip archive. Its member ``data.pkl`` is a pickle of everything except the data of
tensors, which `torch_pickle` interprets. Each storage that tensors are views of is a member
``data/0``, ``data/1`` and so on.
"""

import os
import sys
import zipfile
from typing import Any

import numpy as np

from lstm_jax.convert.file_errors import reading, shorten
from lstm_jax.convert.torch_pickle import unpickle

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a magic number, pickled
_ZIP_MAGIC = b"PK\x03\x04"


def load_file(path: str | os.PathLike[str]) -> Any:
    """Load a ``.pt`` or ``.pth`` file of PyTorch, without PyTorch.

    No code in the file is run. The file may contain tensors and parameters in dicts, lists and
    tuples, with numbers, strings, booleans and None: a state dict, or one in a larger checkpoint
    such as ``{"model": model.state_dict(), "epoch": 3}``. Tensors that repeat elements, as those of
    `expand`, are refused: copies of them could need any amount of memory.

    Args:
      path: a file written by `torch.save`, of PyTorch 1.6 or newer.

    Returns:
      The content, with NumPy arrays for tensors, including bfloat16. The arrays are read-only views
      of the loaded data, as tensors may share storage.

    Raises:
      ValueError: when it is not such a file, is damaged, or contains anything else.
      OSError: when it cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    ...     load_file(file.name)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: torch.load_file: ...pt: not a zip archive, as torch.save writes since PyTorch 1.6
    """
    with reading("torch.load_file", path), open(path, "rb") as file:
        start = file.read(len(_LEGACY_MAGIC))
        if start == _LEGACY_MAGIC:
            raise ValueError(
                "written by PyTorch before 1.6; load and save it again with a newer version"
            )
        if not zipfile.is_zipfile(file):
            raise ValueError(
                "truncated: a zip archive without its end"
                if start.startswith(_ZIP_MAGIC)
                else "not a zip archive, as torch.save writes since PyTorch 1.6"
            )
        with zipfile.ZipFile(file) as archive:
            members = _Members(archive, os.fstat(file.fileno()).st_size)
            return unpickle(members.read("data.pkl"), members.read_storage)


class _Members:
    """The members of the zip archive, in the folder that has ``data.pkl``.

    Args:
      archive: the archive.
      file_size: its size in bytes.
    """

    def __init__(self, archive: zipfile.ZipFile, file_size: int) -> None:
        self.archive = archive
        self.infos = {info.filename: info for info in archive.infolist()}
        # Members are uncompressed and must not overlap, so their sizes add up to less than this.
        if sum(info.file_size for info in self.infos.values()) > file_size:
            raise ValueError("the sizes of its members exceed the size of the file")
        pickles = [name for name in self.infos if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ValueError(f"not written by torch.save: it has {len(pickles)} members data.pkl")
        self.folder = pickles[0].removesuffix("data.pkl")
        self.byteorder = "little"
        if f"{self.folder}byteorder" in self.infos:
            self.byteorder = self.read("byteorder").decode()
        if self.byteorder not in ("little", "big"):
            got = shorten(repr(self.byteorder))
            raise ValueError(f"its byte order must be little or big; got {got}")

    def read(self, name: str) -> bytes:
        """Read a member."""
        info = self.infos.get(self.folder + name)
        if info is None:
            raise ValueError(f"{shorten(name)} is missing")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{shorten(name)} is compressed, unlike in files of torch.save")
        return self.archive.read(info)

    def read_storage(self, key: str, dtype: np.dtype, numel: int) -> bytes:
        """Read a storage, and convert it to the byte order of this machine."""
        data = self.read(f"data/{key}")
        if len(data) != numel * dtype.itemsize:
            raise ValueError(
                f"{shorten(f'data/{key}')} must have {numel} elements of {dtype.name},"
                f" {numel * dtype.itemsize} bytes; got {len(data)}"
            )
        if self.byteorder != sys.byteorder:
            width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
            data = np.frombuffer(data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()
        return data
