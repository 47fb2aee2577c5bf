"""Save and load the parameters of any cell as safetensors files.

Tensors have the names of `lstm_jax.param_dict`, with the parts joined by dots: ``kernel``,
``layers_1.backward.bias``. The metadata of the file are:

    format           lstm_jax
    format_version   1
    gate_order       ifgo, for LSTMs
    library_version  version of lstm_jax that wrote the file
    params           types of the parameters, the outermost first
    cell             repr of the cell, if it was given

All dtypes are kept, including bfloat16.
"""

import contextlib
import importlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstm_jax.bidirectional import Directions
from lstm_jax.convert import families
from lstm_jax.convert.file_errors import reading, shorten
from lstm_jax.convert.gate_order import GATE_ORDER
from lstm_jax.convert.layer_params import natural_order, split_layers
from lstm_jax.param_dict import flatten, from_dict, to_dict
from lstm_jax.transforms.sizes import param_shapes
from lstm_jax.types import PyTree

FORMAT = "lstm_jax"
FORMAT_VERSION = 1

_MAX_DEPTH = 100
"""Most parts of a name: stacks and directions nest a few levels, and deeper ones would recurse."""

_NAMED = (families.LSTM, families.PROJECTED_LSTM, families.GRU)
"""Families that `load` tells by names and shapes; other cells have names of the other families."""


def save(path: str | os.PathLike[str], params: PyTree, cell: Any = None) -> None:
    """Save parameters to a file.

    An existing file is replaced atomically: after an error, it is unchanged.

    Args:
      path: the file, such as ``"model.safetensors"``.
      params: parameters of any cell.
      cell: the cell of the parameters, to check them and to save its repr in the metadata.

    Raises:
      ImportError: when safetensors is not installed.
      ValueError: when the parameters do not match the cell, or a name contains a dot.
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
    library = _import_library(function, "safetensors.numpy")
    named = to_dict(params)
    if cell is not None:
        from_dict(function, param_shapes(cell), named)
    tensors = {}
    for name, leaf in flatten(named):
        joined = name.replace("/", ".")
        if joined in tensors or joined.count(".") != len(name.split("/")) - 1:
            raise ValueError(f"{function}: a parameter name must not contain dots; got {name!r}")
        tensors[joined] = np.asarray(leaf, order="C")
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "gate_order": GATE_ORDER,
        "library_version": importlib.import_module(FORMAT).__version__,
        "params": ",".join(_types(params)),
    }
    if cell is not None:
        metadata["cell"] = repr(cell)
    _write_atomically(Path(path), library.save(tensors, metadata))


def _write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file in the same folder, and rename it once it is complete."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def load(path: str | os.PathLike[str], cell: Any = None) -> PyTree:
    """Load parameters from a file.

    Args:
      path: a file written by `save`.
      cell: the cell of the parameters. It may be omitted for `LSTM`, `ProjectedLSTM`, a `GRU` that
        resets after the product, and `bidirectional` and `stack` of these.

    Returns:
      Parameters in the structure of the cell and the dtypes of the file. Float64 becomes float32
      unless JAX has it enabled.

    Raises:
      ImportError: when safetensors is not installed.
      ValueError: when the file is damaged, was not written by `save`, has another format version,
        another gate order, or other parameters than the cell; or when the cell is required but not
        given. The message names the file.
      OSError: when the file cannot be read.

    >>> import tempfile
    >>> import jax
    >>> import lstm_jax as lj
    >>> cell = lj.CoupledLSTM(3, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", cell.init(jax.random.key(0)), cell)
    ...     load(f"{folder}/model.safetensors", cell).kernel.shape
    (3, 15)
    """
    function = "safetensors.load"
    library = _import_library(function, "safetensors")
    shapes = None if cell is None else param_shapes(cell)
    with reading(function, path), open(path, "rb"):  # an error of `open` names the file
        try:
            with library.safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                _check_metadata(metadata)
                tensors = {name: jnp.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        except library.SafetensorError as error:
            raise ValueError(f"not a complete safetensors file: {error}") from error
        named = _nest(tensors)
        if shapes is not None:
            return from_dict(function, shapes, named)
        try:
            params = _params_by_name(named)
            split_layers(function, params)  # checks the shapes
            # Parameters of another cell may have the same names and shapes.
            if metadata.get("params", "") not in ("", ",".join(_types(params))):
                raise TypeError(metadata["params"])
        except (KeyError, TypeError, ValueError) as error:
            saved_cell = shorten(metadata.get("cell", "an unnamed cell"), 500)
            raise ValueError(
                f"contains {shorten(', '.join(tensors), 200)} of {saved_cell}: pass the cell"
            ) from error
        return params


def _check_metadata(metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"not saved by lstm_jax: its format is {shorten(repr(metadata.get('format')))}; load it"
            " with the safetensors package, and convert weights of other libraries with to_params"
            " of lstm_jax.convert"
        )
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise ValueError(
            f"has format version {shorten(repr(version))}; this version of lstm_jax supports"
            f" {FORMAT_VERSION}; a newer version of lstm_jax may support others"
        )
    if (order := metadata.get("gate_order")) != GATE_ORDER:
        raise ValueError(f"has gate order {shorten(repr(order))} instead of {GATE_ORDER!r}")


def _nest(tensors: dict[str, Any]) -> dict[str, Any]:
    """Convert dotted names to nested dicts."""
    named: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *parents, last = name.split(".")
        if len(parents) > _MAX_DEPTH:
            raise ValueError(f"a name has more than {_MAX_DEPTH} parts: {shorten(name)}")
        inner = named
        for part in parents:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(
                    f"has both a parameter {shorten(part)} and parameters inside of it"
                )
        if last in inner:
            raise ValueError(f"has both a parameter {shorten(last)} and parameters inside of it")
        inner[last] = tensor
    return named


def _params_by_name(named: dict[str, Any]) -> PyTree:
    """Return the parameters that have these names; KeyError if there are none."""
    if all(re.fullmatch(r"layers_\d+", name) for name in named):
        return tuple(_params_by_name(named[name]) for name in natural_order(named))
    if named.keys() == set(Directions._fields):
        return Directions(**{name: _params_by_name(part) for name, part in named.items()})
    for family in _NAMED:
        if named.keys() == set(family.axes):
            return family.params(**named)
    raise KeyError(*named)


def _types(params: PyTree) -> list[str]:
    """The names of the NamedTuples that parameters are made of, the outermost first."""
    own = [type(params).__name__] if hasattr(params, "_fields") else []
    below = params.values() if isinstance(params, Mapping) else params
    if not isinstance(below, Iterable) or hasattr(below, "shape"):
        return own
    return own + [name for each in below for name in _types(each)]


def _import_library(function: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{function}: safetensors is not installed; install lstm_jax[convert]"
        ) from error
