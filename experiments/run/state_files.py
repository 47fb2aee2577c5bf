"""The arrays of a checkpoint: any tree of arrays in safetensors files, one for each process.

A tensor has the name of its place in the tree, such as ``params/cell/kernel``. Where several
processes hold parts of an array, each writes its own parts, called
``params/cell/kernel[0:32,0:256]``. Whatever wrote them, any number of processes and devices reads
them.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.errors import UserError
from experiments.run.read_file import form_error, parse_json
from experiments.run.safetensors_file import Tensor
from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.param_dict import path_names
from lstm_jax.types import PyTree

FORMAT = {"format": "lstm_jax checkpoint", "format_version": "1"}
"""Metadata of every file."""

Index = tuple[slice, ...]


class SavedLeaf(NamedTuple):
    """An array of a checkpoint.

    Attributes:
      dtype: its dtype; that of a random key is uint32.
      shape: the shape of the whole array.
      key_impl: the algorithm of a random key, or None for other arrays.
      parts: where each part begins and ends along every axis, and its numbers.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    key_impl: str | None
    parts: list[tuple[Index, np.ndarray]]


def state_file_name(process: int, processes: int) -> str:
    """The name of the file of a process.

    >>> state_file_name(0, 1), state_file_name(1, 4)
    ('state.safetensors', 'state-00001-of-00004.safetensors')
    """
    part = "" if processes == 1 else f"-{process:05}-of-{processes:05}"
    return f"state{part}.safetensors"


def state_file_names(processes: int) -> list[str]:
    """The names of the files of all processes."""
    return [state_file_name(process, processes) for process in range(processes)]


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by name.

    Raises:
      ValueError: if two leaves have one name.

    >>> named_leaves({"a": (1, 2)})
    {'a/layers_0': 1, 'a/layers_1': 2}
    """
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = "/".join(path_names(path))
        if name in leaves:
            raise ValueError(f"two parts of the state are called {name!r}")
        leaves[name] = leaf
    return leaves


def owned_tensors(
    states: PyTree, process: int, processes: int
) -> tuple[dict[str, jax.Array | np.ndarray], dict[str, str]]:
    """The tensors that a process writes, and the metadata of its file.

    Args:
      states: any tree of arrays, also of random keys.
      process: the index of this process.
      processes: the number of processes.

    Returns:
      Tensors by name: whole arrays, or the parts of which this process holds the first copy.
    """
    tensors: dict[str, jax.Array | np.ndarray] = {}
    whole: dict[str, Any] = {}
    indices: dict[str, list[list[int]]] = {}
    for name, leaf in named_leaves(states).items():
        array, key_impl = leaf, None
        if is_key(leaf):
            key_impl, array = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
        if not hasattr(array, "addressable_shards"):
            array = np.asarray(array)
        whole[name] = {"shape": list(array.shape)} | ({"key": key_impl} if key_impl else {})
        if isinstance(array, np.ndarray) or array.is_fully_addressable:
            if process == 0:
                tensors[name] = array
            continue
        for shard in array.addressable_shards:
            if shard.replica_id == 0:
                bounds = [list(pair) for pair in _bounds(shard.index, array.shape)]
                part = name
                if shard.data.shape != array.shape:
                    part += "[" + ",".join(f"{a}:{b}" for a, b in bounds) + "]"
                    indices[part] = bounds
                tensors[part] = shard.data
    for array in tensors.values():
        if isinstance(array, jax.Array):
            array.copy_to_host_async()
    metadata = FORMAT | {"arrays": json.dumps(whole), "parts": json.dumps(indices)}
    return tensors, metadata


def is_key(leaf: Any) -> bool:
    """Whether an array, or a description of one, is of typed random keys."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def saved_leaves(
    files: Sequence[tuple[Mapping[str, Tensor], Mapping[str, str]]],
) -> dict[str, SavedLeaf]:
    """The arrays of all files of a checkpoint.

    Args:
      files: tensors and metadata of each file.

    Returns:
      Arrays by name.

    Raises:
      ValueError: if the files are of another format, or of different states.
    """
    arrays: dict[str, Any] | None = None
    leaves: dict[str, SavedLeaf] = {}
    for tensors, metadata in files:
        if {key: metadata.get(key) for key in FORMAT} != FORMAT:
            raise ValueError("written in another format, or by another version")
        whole = parse_json(metadata.get("arrays", "").encode())
        indices = parse_json(metadata.get("parts", "").encode())
        reason = form_error(whole, {...: {"shape": [int]}}) or form_error(indices, {...: [[int]]})
        if reason is not None:
            raise ValueError(reason)
        if arrays is not None and whole != arrays:
            raise ValueError("the files of its processes are of different states")
        arrays = whole
        for part, tensor in tensors.items():
            name = part[: part.rindex("[")] if part in indices else part
            if name not in whole:
                raise ValueError(f"{name}: has no entry in the metadata")
            shape = tuple(whole[name]["shape"])
            bounds = indices.get(part, [[0, size] for size in shape])
            if tuple(b - a for a, b in bounds) != tensor.shape or len(bounds) != len(shape):
                raise ValueError(f"{part}: has another shape than its name says")
            leaf = leaves.setdefault(
                name, SavedLeaf(tensor.dtype, shape, whole[name].get("key"), [])
            )
            leaf.parts.append((tuple(slice(a, b) for a, b in bounds), tensor.array))
    for name in arrays or {}:
        parts = leaves[name].parts if name in leaves else []
        if sum(part.size for _, part in parts) != math.prod((arrays or {})[name]["shape"]):
            raise ValueError(f"{name}: the files do not have all of it")
    return leaves


def restored(like: PyTree, leaves: Mapping[str, SavedLeaf], where: str) -> PyTree:
    """The arrays of a checkpoint in the structure of a state, on its devices.

    Args:
      like: a tree of arrays, or of `jax.ShapeDtypeStruct`, whose shardings are used where they
        have one; only the numbers that this process needs are read.
      leaves: the arrays of the checkpoint.
      where: the checkpoint, for messages.

    Returns:
      A tree like `like`.

    Raises:
      UserError: if the checkpoint is of a state with other names, shapes or dtypes.
    """
    wanted = named_leaves(like)
    for name in wanted:
        if name not in leaves:
            hint = did_you_mean(name, leaves, cutoff=0.8)
            raise UserError(f"{where}: holds another model or optimizer: it has no {name}{hint}")
    for name in leaves:
        if name not in wanted:
            raise UserError(f"{where}: holds another model or optimizer: there is no {name} here")
    for name, leaf in wanted.items():
        if (reason := _mismatch(leaf, leaves[name])) is not None:
            raise UserError(f"{where}: holds another model or optimizer: {name} {reason}")
    arrays = [_on_devices(leaf, leaves[name]) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), arrays)


def _mismatch(like: Any, saved: SavedLeaf) -> str | None:
    """How an array of a checkpoint differs from what is wanted."""
    if is_key(like) != (saved.key_impl is not None):
        return f"is {'a random key' if saved.key_impl else 'no random key'}"
    shape, dtype = np.shape(like), getattr(like, "dtype", None) or np.asarray(like).dtype
    saved_shape, saved_dtype = saved.shape, saved.dtype
    if saved.key_impl is not None:
        data = jax.ShapeDtypeStruct(saved.shape, saved.dtype)
        try:
            wrap = functools.partial(jax.random.wrap_key_data, impl=saved.key_impl)
            key = jax.eval_shape(wrap, data)
        except (TypeError, ValueError):
            return f"is a random key of {saved.key_impl!r}, which this JAX does not have"
        saved_shape, saved_dtype = key.shape, key.dtype
    if shape != saved_shape:
        return f"has shape {list(saved_shape)}, not {list(shape)}"
    if dtype != saved_dtype:
        return f"has dtype {saved_dtype}, not {dtype}"
    return None


def _on_devices(like: Any, saved: SavedLeaf) -> Any:
    """An array of a checkpoint, of the kind of `like` and on its devices."""
    if not hasattr(like, "dtype"):
        return type(like)(whole_array(saved))
    if isinstance(like, np.ndarray | np.generic):
        return whole_array(saved)
    sharding = getattr(like, "sharding", None)
    if isinstance(like, jax.Array) and not like.committed:
        sharding = None
    if sharding is None:
        array = jnp.array(whole_array(saved))
    else:

        def read(index: Index | None) -> np.ndarray:
            return whole_array(saved) if index is None else _read(saved, index)

        array = jax.make_array_from_callback(saved.shape, sharding, read, dtype=saved.dtype)
    return array if saved.key_impl is None else jax.random.wrap_key_data(array, impl=saved.key_impl)


def whole_array(saved: SavedLeaf) -> np.ndarray:
    """The numbers of an array of a checkpoint, in memory of their own."""
    return _read(saved, tuple(slice(0, size) for size in saved.shape))


def _read(saved: SavedLeaf, index: Index) -> np.ndarray:
    """The numbers at an index, in memory of their own."""
    bounds = _bounds(index, saved.shape)
    numbers = np.empty([b - a for a, b in bounds], saved.dtype)
    for part_index, part in saved.parts:
        into, out_of = [], []
        for (a, b), s in zip(bounds, part_index, strict=True):
            low, high = max(a, s.start), min(b, s.stop)
            into.append(slice(low - a, max(high, low) - a))
            out_of.append(slice(low - s.start, max(high, low) - s.start))
        numbers[tuple(into)] = part[tuple(out_of)]
    return numbers


def _bounds(index: Index, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where an index begins and ends along every axis."""
    return [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]
