"""Checks of the arrays of other libraries: their type, dtype, shape and names."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BLOCK_HINTS = {
    1: "one block of H, as in a simple RNN",
    3: "three blocks of H, as in a GRU",
    4: "four blocks of H, as in an LSTM",
}


def as_arrays(function: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arrays of any library to NumPy or JAX arrays, without a copy where possible.

    The kind of array is detected by its methods, so no library needs to be installed: boxes of
    `flax.linen`, variables of `flax.nnx`, tensors of PyTorch with or without a gradient, and
    everything that NumPy reads.

    Args:
      function: the public function to name in errors.
      values: arrays by name.

    Returns:
      Arrays by the same names.

    Raises:
      TypeError: when a value is not a floating-point array, or dtypes differ.

    >>> as_arrays("torch.to_params", {"bias": np.ones(4, np.float16)})["bias"].dtype
    dtype('float16')
    >>> as_arrays("torch.to_params", {"bias": {"kernel": 1.0}})
    Traceback (most recent call last):
    TypeError: torch.to_params: bias must be an array of floating-point numbers; got dict
    """
    arrays = {name: _as_array(function, name, value) for name, value in values.items()}
    # Unless JAX has float64 enabled, it is the same as float32 here.
    dtypes = {name: jax.dtypes.canonicalize_dtype(array.dtype) for name, array in arrays.items()}
    if len({*dtypes.values()}) > 1:
        listed = ", ".join(f"{name} {dtype.name}" for name, dtype in dtypes.items())
        raise TypeError(f"{function}: weights must have one dtype; got {listed}")
    return arrays


def _as_array(function: str, name: str, value: Any) -> Any:
    if hasattr(value, "unbox"):
        value = value.unbox()
    if hasattr(value, "get_value"):
        value = value.get_value()
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # PyTorch cannot convert bfloat16 to NumPy; the detour through float32 is exact.
        bfloat16 = str(value.dtype) == "torch.bfloat16"
        value = value.float().numpy().astype(jnp.bfloat16) if bfloat16 else value.numpy()
    got = type(value).__name__
    if hasattr(value, "shape") and not isinstance(value, jax.Array):
        value = np.asarray(value)
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"{value.dtype}" if hasattr(value, "dtype") and value.dtype != object else got
        raise TypeError(f"{function}: {name} must be an array of floating-point numbers; got {got}")
    return value


def axis_size(array: Any, axis: int) -> int:
    """Return the size of an axis, or 0 where it does not exist, so that `check_shape` fails.

    >>> axis_size(np.ones((2, 3)), -1), axis_size(np.ones(()), 0)
    (3, 0)
    """
    shape = jnp.shape(array)
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def check_shape(function: str, name: str, array: Any, axes: str, **sizes: int) -> None:
    """Check that an array has the expected shape and no axis of size 0.

    Args:
      function: the public function to name in errors.
      name: the name of the array in its library.
      array: the array.
      axes: the expected shape in axis letters, such as ``"[4H, I]"``.
      sizes: the size that each letter stands for.

    Raises:
      ValueError: when it has another shape.

    >>> check_shape("torch.to_params", "weight_ih_l0", np.ones((15, 3)), "[4H, I]", H=5, I=3)
    Traceback (most recent call last):
    ValueError: torch.to_params: weight_ih_l0 must have shape [4H, I] = (20, 3); got (15, 3): three\
 blocks of H, as in a GRU
    """
    letters, got = axes.strip("[]").split(", "), jnp.shape(array)
    expected = tuple(
        sum(int(term[:-1] or 1) * sizes[term[-1]] for term in each.split("+")) for each in letters
    )
    if got == expected and all(expected):
        return
    hint = ""
    if len(got) == len(expected):
        for axis, letter in enumerate(letters):
            if letter in ("3H", "4H") and got[axis] != expected[axis]:
                widths = {blocks * sizes["H"]: text for blocks, text in _BLOCK_HINTS.items()}
                hint = f": {widths[got[axis]]}" if got[axis] in widths else ""
    raise ValueError(f"{function}: {name} must have shape {axes} = {expected}; got {got}{hint}")


def check_mapping(function: str, name: str, value: Any) -> None:
    """Check that a value is a mapping.

    >>> check_mapping("haiku.to_params", "parameters", [1, 2])
    Traceback (most recent call last):
    TypeError: haiku.to_params: parameters must be a mapping; got list
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{function}: {name} must be a mapping; got {type(value).__name__}")


def check_names(function: str, got: Iterable[str], expected: Iterable[str]) -> None:
    """Check that the names of the weights are the expected ones.

    Args:
      function: the public function to name in errors.
      got: the names of the weights.
      expected: the required names.

    Raises:
      ValueError: when a name is missing or unexpected.

    >>> check_names("equinox.to_params", ["weight_ih", "bias_n"], ["weight_ih", "weight_hh"])
    Traceback (most recent call last):
    ValueError: equinox.to_params: the names must be weight_ih, weight_hh; missing weight_hh;\
 unexpected bias_n
    """
    got, expected = dict.fromkeys(map(str, got)), dict.fromkeys(expected)
    missing = [name for name in expected if name not in got]
    unexpected = [name for name in got if name not in expected]
    if not missing and not unexpected:
        return
    details = f"; missing {', '.join(missing)}" if missing else ""
    details += f"; unexpected {', '.join(unexpected)}" if unexpected else ""
    raise ValueError(f"{function}: the names must be {', '.join(expected)}{details}")


def select_prefix(function: str, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Select the entries whose names start with a prefix; the names stay complete.

    Args:
      function: the public function to name in errors.
      values: arrays by name.
      prefix: the start of the names.

    Returns:
      The selected entries.

    Raises:
      TypeError: when a name is not a string.

    >>> select_prefix("torch.to_params", {"encoder.lstm.bias": 1, "head.bias": 2}, "encoder.lstm.")
    {'encoder.lstm.bias': 1}
    >>> select_prefix("torch.to_params", {0: 1}, "")
    Traceback (most recent call last):
    TypeError: torch.to_params: names must be strings; got 0
    """
    for name in values:
        if not isinstance(name, str):
            raise TypeError(f"{function}: names must be strings; got {name!r}")
    return {name: values[name] for name in values if name.startswith(prefix)}
