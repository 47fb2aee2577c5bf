"""Single arrays of other libraries: as ours, with the shapes wanted, their gates in our order."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OURS = "ifgo"
"""Our order of gates."""

_OTHERS = {1: "one block of H, as a plain RNN has", 3: "three blocks of H, as a GRU has"}


def as_arrays(function: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of any library as those of NumPy or JAX, to be looked at: not copied yet.

    Known by what they can do, so that no library has to be there: boxes of `flax.linen`, variables
    of `flax.nnx`, tensors of PyTorch with or without a gradient, and all that NumPy reads.

    Args:
      function: the public function to name in errors.
      values: arrays by name.

    Returns:
      Arrays by the same names.

    Raises:
      TypeError: when one is no array of floating-point numbers, or dtypes differ.

    >>> as_arrays("torch.to_params", {"bias": np.ones(4, np.float16)})["bias"].dtype
    dtype('float16')
    >>> as_arrays("torch.to_params", {"bias": {"kernel": 1.0}})
    Traceback (most recent call last):
    TypeError: torch.to_params: bias must be an array of floating-point numbers; got dict
    """
    arrays = {name: _as_array(function, name, value) for name, value in values.items()}
    # Float64 is another dtype only where JAX has it enabled.
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
        # NumPy has no bfloat16 of its own; float32 holds every one of them.
        bfloat16 = str(value.dtype) == "torch.bfloat16"
        value = value.float().numpy().astype(jnp.bfloat16) if bfloat16 else value.numpy()
    got = type(value).__name__
    if hasattr(value, "shape") and not isinstance(value, jax.Array):
        value = np.asarray(value)
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"{value.dtype}" if hasattr(value, "dtype") and value.dtype != object else got
        raise TypeError(f"{function}: {name} must be an array of floating-point numbers; got {got}")
    return value


def size(array: Any, axis: int) -> int:
    """The size of an axis, 0 where there is none: the check of the shape will say so.

    >>> size(np.ones((2, 3)), -1), size(np.ones(()), 0)
    (3, 0)
    """
    shape = jnp.shape(array)
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def check_shape(function: str, name: str, array: Any, axes: str, **sizes: int) -> None:
    """Raise unless an array has the shape wanted, none of it 0.

    Args:
      function: the public function to name in errors.
      name: what the array is called where it comes from.
      array: the array.
      axes: the shape as it is written, such as ``"[4H, I]"``.
      sizes: what the letters stand for.

    Raises:
      ValueError: when it has another shape.

    >>> check_shape("torch.to_params", "weight_ih_l0", np.ones((15, 3)), "[4H, I]", H=5, I=3)
    Traceback (most recent call last):
    ValueError: torch.to_params: weight_ih_l0 must have shape [4H, I] = (20, 3); got (15, 3): three\
 blocks of H, as a GRU has
    """
    letters, got = axes.strip("[]").split(", "), jnp.shape(array)
    wanted = tuple(
        sum(int(term[:-1] or 1) * sizes[term[-1]] for term in each.split("+")) for each in letters
    )
    if got == wanted and all(wanted):
        return
    hint = ""
    if len(got) == len(wanted) and "4H" in letters:
        at = letters.index("4H")
        blocks = {sizes["H"]: 1, 3 * sizes["H"]: 3}.get(got[at]) if got[at] else None
        hint = f": {_OTHERS[blocks]}" if blocks else ""
    raise ValueError(f"{function}: {name} must have shape {axes} = {wanted}; got {got}{hint}")


def check_names(
    function: str, got: Iterable[str], wanted: Iterable[str], *, gru: Iterable[str] = ()
) -> None:
    """Raise unless the names that came are those wanted.

    Args:
      function: the public function to name in errors.
      got: names that came.
      wanted: names that are needed.
      gru: names that only a GRU has.

    Raises:
      ValueError: when one is missing or left over.

    >>> check_names("equinox.to_params", ["weight_ih", "bias_n"], ["weight_ih", "weight_hh"])
    Traceback (most recent call last):
    ValueError: equinox.to_params: the names must be weight_ih, weight_hh; missing weight_hh; left\
 over bias_n
    """
    got, wanted = dict.fromkeys(map(str, got)), dict.fromkeys(wanted)
    missing = [name for name in wanted if name not in got]
    over = [name for name in got if name not in wanted]
    if not missing and not over:
        return
    found = f"; missing {', '.join(missing)}" if missing else ""
    found += f"; left over {', '.join(over)}" if over else ""
    found += ": a GRU has these" if set(gru) & set(over) else ""
    raise ValueError(f"{function}: the names must be {', '.join(wanted)}{found}")


def reordered(array: jax.Array, *, of: str, to: str) -> jax.Array:
    """Gate blocks along the last axis, in another order.

    Args:
      array: ``[..., 4H]``.
      of: the gates as they lie, such as ``"igfo"``.
      to: the gates as they shall lie.

    Returns:
      The same numbers, ``[..., 4H]``.

    >>> reordered(jnp.array([1.0, 2.0, 3.0, 4.0]), of="igfo", to="ifgo").tolist()
    [1.0, 3.0, 2.0, 4.0]
    """
    blocks = dict(zip(of, jnp.split(array, len(of), axis=-1), strict=True))
    return jnp.concatenate([blocks[gate] for gate in to], axis=-1)


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Names with the numbers in them taken as numbers.

    >>> in_natural_order(["lstm_10", "lstm_2", "lstm"])
    ['lstm', 'lstm_2', 'lstm_10']
    """

    def parts(name: str) -> list[tuple[int, int, str]]:
        # A number sorts before any letter, and is never compared with one.
        return [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"(\d+)", name)
            if part
        ]

    return sorted(names, key=parts)


def under(function: str, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What of a mapping begins with a prefix, by its full names.

    Args:
      function: the public function to name in errors.
      values: arrays by name.
      prefix: what the names begin with.

    Returns:
      A part of the mapping.

    Raises:
      TypeError: when a name is no string.

    >>> under("torch.to_params", {"encoder.lstm.bias": 1, "head.bias": 2}, "encoder.lstm.")
    {'encoder.lstm.bias': 1}
    >>> under("torch.to_params", {0: 1}, "")
    Traceback (most recent call last):
    TypeError: torch.to_params: names must be strings; got 0
    """
    for name in values:
        if not isinstance(name, str):
            raise TypeError(f"{function}: names must be strings; got {name!r}")
    return {name: values[name] for name in values if name.startswith(prefix)}
