"""Files of safetensors: parameters of any cell under their names, and what they are.

A tensor is called as `lstm_jax.param_dict` calls it, the parts joined by dots: ``kernel``,
``layers_1.backward.bias``. The file's own metadata say:

    format           lstm_jax
    format_version   1
    gate_order       ifgo, of the LSTM
    library_version  of the lstm_jax that wrote it
    cell             how the cell prints, where it was given

All dtypes are kept, bfloat16 as well.
"""

import contextlib
import importlib
import os
import re
import secrets
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstm_jax.bidirectional import Directions
from lstm_jax.cells import ProjectedLSTMParams
from lstm_jax.convert.arrays import OURS, in_natural_order
from lstm_jax.convert.layers import layers_of
from lstm_jax.param_dict import flatten, from_dict, to_dict
from lstm_jax.transforms.transform import param_shapes
from lstm_jax.types import LSTMParams, PyTree

FORMAT = "lstm_jax"
VERSION = 1


def save(path: str | os.PathLike[str], params: PyTree, cell: Any = None) -> None:
    """Write parameters to a file.

    A file that is there already is replaced at the end, in one go: when anything goes wrong, it is
    still what it was.

    Args:
      path: where to, such as ``"model.safetensors"``.
      params: parameters of any cell.
      cell: the cell that they are of; how it prints is written as well.

    Raises:
      ImportError: when safetensors is not installed.
      ValueError: when the parameters are not those of the cell, or come to the same name.
      OSError: when the file cannot be written.

    >>> import tempfile
    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.bidirectional(lj.LSTM(3, 5))
    >>> params = cell.init(jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", params)
    ...     load(f"{folder}/model.safetensors").backward.kernel.shape
    (3, 20)
    """
    function = "safetensors.save"
    theirs = _library(function, "safetensors.numpy")
    named = to_dict(params)
    if cell is not None:
        from_dict(function, param_shapes(cell), named)
    tensors = {}
    for name, leaf in flatten(named):
        joined = name.replace("/", ".")
        if joined in tensors or joined.count(".") != len(name.split("/")) - 1:
            raise ValueError(f"{function}: a name must be without dots of its own; got {name!r}")
        tensors[joined] = np.asarray(leaf, order="C")
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "gate_order": OURS,
        "library_version": importlib.import_module(FORMAT).__version__,
    }
    if cell is not None:
        metadata["cell"] = repr(cell)
    _replace(Path(path), theirs.save(tensors, metadata))


def _replace(path: Path, data: bytes) -> None:
    """Write a file beside the one to be, and give it its name once it is whole."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise


def load(path: str | os.PathLike[str], cell: Any = None) -> PyTree:
    """Read parameters from a file.

    Args:
      path: a file that `save` wrote.
      cell: the cell that the parameters are for. The LSTM, the projected one, `bidirectional` and
        `stack` of these do without.

    Returns:
      Parameters as the cell has them, in the dtypes of the file. Float64 stays so only where JAX
      has it enabled.

    Raises:
      ImportError: when safetensors is not installed.
      ValueError: when it is no file of `save`, comes from a newer version, has another gate order,
        or other parameters than the cell; or a cell is needed and not given.
      OSError: when the file cannot be read.

    >>> import tempfile
    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.GRU(3, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", cell.init(jax.random.key(0)), cell)
    ...     load(f"{folder}/model.safetensors", cell).kernel.shape
    (3, 15)
    """
    function = "safetensors.load"
    theirs = _library(function, "safetensors")
    try:
        with theirs.safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            _check_metadata(function, path, metadata)
            tensors = {name: jnp.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except theirs.SafetensorError as error:
        raise ValueError(
            f"{function}: {os.fspath(path)} is no whole safetensors file: {error}"
        ) from error
    named = _nested(tensors)
    if cell is not None:
        return from_dict(function, param_shapes(cell), named)
    try:
        params = _guessed(named)
        layers_of(function, params)
    except (KeyError, TypeError, ValueError) as error:
        written = metadata.get("cell", "a cell that it does not name")
        raise ValueError(
            f"{function}: {os.fspath(path)} holds {', '.join(tensors)} of {written}: give the cell"
        ) from error
    return params


def _check_metadata(function: str, path: Any, metadata: dict[str, str]) -> None:
    where = os.fspath(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{function}: {where} is not of lstm_jax: its format is {metadata.get('format')!r};"
            " safetensors itself reads it, and lstm_jax.convert has to_params for other libraries"
        )
    version = metadata.get("format_version", "")
    if version != str(VERSION):
        raise ValueError(
            f"{function}: {where} has format version {version!r}; this lstm_jax reads {VERSION},"
            " a newer one may read more"
        )
    if (order := metadata.get("gate_order")) != OURS:
        raise ValueError(f"{function}: {where} has the gate order {order!r}; ours is {OURS!r}")


def _nested(tensors: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *above, last = name.split(".")
        inner = named
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = tensor
    return named


def _guessed(named: dict[str, Any]) -> PyTree:
    """Parameters by their names alone."""
    if all(re.fullmatch(r"layers_\d+", name) for name in named):
        return tuple(_guessed(named[name]) for name in in_natural_order(named))
    if named.keys() == set(Directions._fields):
        return Directions(**{name: _guessed(part) for name, part in named.items()})
    for kind in (LSTMParams, ProjectedLSTMParams):
        if named.keys() == set(kind._fields):
            return kind(**named)
    raise KeyError(*named)


def _library(function: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{function}: safetensors is not installed; the extra lstm_jax[convert] brings it"
        ) from error
