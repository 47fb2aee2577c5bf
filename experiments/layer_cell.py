"""The cell of a layer in a config, with its initial weights, directions and transforms."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

import lstm_jax as lj
from experiments.config.components import find_component, short_text, where
from experiments.config.fields import FieldErrors
from experiments.config.layer import (
    CELLS,
    ONLY_WITH,
    DType,
    Dtypes,
    LayerConfig,
    forget_gate_bias,
)
from lstm_jax.initializers import (
    GATES,
    Chrono,
    EachGate,
    ForgetBias,
    ForgetGateOf,
    preset,
    zeros,
)
from lstm_jax.transforms.sizes import output_size
from lstm_jax.types import Initializer, Policy, PyTree

Features = int | tuple[int, ...]
"""Number of features, or the shape of a grid with them, as of a convolutional LSTM."""

TRANSFORMS: dict[str, Callable[[LayerConfig, Any], Any]] = {
    "weight_drop": lambda layer, cell: lj.weight_drop(cell, layer.weight_drop),
    "candidate_dropout": lambda layer, cell: lj.candidate_dropout(cell, layer.candidate_dropout),
    "recurrent_dropout": lambda layer, cell: lj.recurrent_dropout(cell, layer.recurrent_dropout),
    "zoneout": lambda layer, cell: lj.zoneout(cell, h=layer.zoneout.h, c=layer.zoneout.c),
    "clip": lambda layer, cell: lj.clip(cell, h=layer.clip.h, c=layer.clip.c),
    "learned_initial_state": lambda layer, cell: lj.learned_initial_state(cell),
    "bidirectional": lambda layer, cell: lj.bidirectional(cell, merge=layer.merge, tied=layer.tied),
    "residual": lambda layer, cell: lj.residual(cell),
    "skip": lambda layer, cell: lj.skip(cell),
    "input_dropout": lambda layer, cell: lj.dropout(
        cell, layer.input_dropout, variational=layer.variational
    ),
}
"""The transforms of a layer by the field that asks for each, the innermost first."""


def layer_cell(layer: LayerConfig, inputs: Features) -> Any:
    """The cell of one layer of a config, with its directions and transforms.

    Args:
      layer: the layer.
      inputs: number of its input features, or the shape of its inputs.

    Returns:
      A cell.

    Raises:
      FieldErrors: if the fields of the layer do not fit together, or to its inputs.

    >>> from experiments.config.layer import layer
    >>> layer_cell(layer("gru", hidden_size=4, residual=True), 4)
    Residual(cell=GRU(input_size=4, hidden_size=4))
    """
    defaults = {field.name: field.default for field in dataclasses.fields(LayerConfig)}
    cell = _bare_cell(layer, inputs)
    for name, needed in ONLY_WITH.items():
        if getattr(layer, name) != defaults[name] and not getattr(layer, needed):
            raise FieldErrors({name: f"has no effect without {needed}"})
    for name, transform in TRANSFORMS.items():
        if getattr(layer, name) != defaults[name]:
            with _errors_at(name):
                cell = transform(layer, cell)
    return cell


def output_features(layer: LayerConfig, inputs: Features) -> Features:
    """What a layer has as outputs at every step, for the inputs that it has.

    >>> from experiments.config.layer import layer
    >>> output_features(layer("lstm", hidden_size=4, bidirectional=True), 3)
    8
    """
    cell = layer_cell(layer, inputs)
    size = output_size(cell) if isinstance(inputs, int) else None
    if size is not None:
        return size
    # The cell does not say it, as with a grid: from an unroll of one step.
    params = jax.eval_shape(cell.init, jax.random.key(0))
    _, hs = jax.eval_shape(
        lambda params, xs: lj.unroll(cell, params, xs), params, _one_step(inputs)
    )
    return hs.shape[2] if hs.ndim == 3 else hs.shape[2:]


def _one_step(inputs: Features) -> jax.ShapeDtypeStruct:
    """The shape of inputs of one step and one row."""
    shape = (inputs,) if isinstance(inputs, int) else inputs
    return jax.ShapeDtypeStruct((1, 1, *shape), jnp.float32)


def check_layer(layer: LayerConfig, inputs: Features) -> PyTree:
    """The shapes of a layer's parameters, once it has been initialised and run for a step.

    Args:
      layer: the layer.
      inputs: number of its input features, or the shape of its inputs.

    Returns:
      The structure of the parameters, with `jax.ShapeDtypeStruct` leaves.

    Raises:
      FieldErrors: if the layer cannot be made, or its initializers or its step fail.
    """
    return _checked(layer, inputs)


@functools.lru_cache(maxsize=256)
def _checked(layer: LayerConfig, inputs: Features) -> PyTree:
    cell = layer_cell(layer, inputs)
    xs = _one_step(inputs)
    try:
        with _errors_of_cell(layer):
            params = jax.eval_shape(cell.init, jax.random.key(0))
            jax.eval_shape(lambda params, xs: lj.unroll(cell, params, xs), params, xs)
    except FieldErrors as error:
        raise FieldErrors(_at_function(layer, inputs, error.errors)) from None
    return params


def _at_function(
    layer: LayerConfig, inputs: Features, errors: Mapping[str, str]
) -> Mapping[str, str]:
    """The errors, at the initializer or activation without which there are none."""
    for name, own in layer.own.items() if "cell" in errors else ():
        if own.make is not None and getattr(layer, name) is not None:
            with contextlib.suppress(FieldErrors):
                _checked(dataclasses.replace(layer, **{name: None}), inputs)
                return {name: errors["cell"]}
    return errors


def _bare_cell(layer: LayerConfig, inputs: Features) -> Any:
    """The cell without transforms."""
    kind = find_component("cell", layer.cell, CELLS)
    fields = {field.name for field in dataclasses.fields(kind)}
    if "input_size" in fields and not isinstance(inputs, int):
        raise FieldErrors(
            {"cell": f"must be conv_lstm, as the inputs of the layer have the shape {inputs}"}
        )
    if "input_shape" in fields and isinstance(inputs, int):
        raise FieldErrors(
            {"cell": f"{layer.cell} needs inputs with a grid, of a task whose input_size is a shape"
             f" such as (8, 8, 1); got {inputs} features"}
        )  # fmt: skip
    arguments: dict[str, Any] = {"input_size" if "input_size" in fields else "input_shape": inputs}
    if "dtype" in fields:
        arguments["dtype"] = policy_of(layer.dtype)
    elif layer.dtype != "float32":
        raise FieldErrors({"dtype": f"must be float32, as the cell {layer.cell} has no dtype"})
    arguments |= _initial_weights(layer, kind, inputs)
    for name, own in layer.own.items():
        value = getattr(layer, name)
        # None stands for the default of the cell.
        if value is not None:
            arguments[own.argument] = (
                own.make(value) if own.make is not None and isinstance(value, str) else value
            )
    with _errors_of_cell(layer):
        return kind(**arguments)


def _initial_weights(layer: LayerConfig, kind: Any, inputs: Features) -> dict[str, Any]:
    """The initializers of a preset, or of a forget gate's bias."""
    given = {
        name: getattr(layer, name, None)
        for name in ("preset", "forget_bias", "chrono_t_max", "bias_init")
    }
    given = {name: value for name, value in given.items() if value is not None}
    if "preset" in given:
        if "forget_bias" in given:
            raise FieldErrors({"forget_bias": f"must be none with the preset {layer.preset}"})
        if layer.preset == "chrono" and "chrono_t_max" not in given:
            raise FieldErrors({"chrono_t_max": "missing; the preset chrono needs it"})
        if layer.preset != "chrono" and "chrono_t_max" in given:
            raise FieldErrors({"chrono_t_max": f"must be none with the preset {layer.preset}"})
        with _errors_at("preset"):
            return {
                **preset(
                    layer.preset,  # type: ignore[arg-type]
                    inputs,  # type: ignore[arg-type]
                    getattr(layer, "hidden_size", 1),
                    cell=kind.__name__,
                    t_max=layer.chrono_t_max,
                )
            }
    given.pop("preset", None)
    if len(given) > 1:
        first, second, *_ = given
        raise FieldErrors({first: f"must be none with {second}, which also sets the first biases"})
    if "forget_bias" in given or "chrono_t_max" in given:
        return {"bias_init": _bias_init(layer, kind)}
    return {}


def _bias_init(layer: LayerConfig, kind: Any) -> Initializer:
    """The bias with the layer's forget bias or chrono timescales in the gate that forgets."""
    default = forget_gate_bias(kind)
    if default is None:
        name = "forget_bias" if layer.chrono_t_max is None else "chrono_t_max"
        raise FieldErrors(
            {name: f"must be none for the cell {layer.cell!r}, which has no such gate's bias"}
        )
    if layer.chrono_t_max is None:
        assert layer.forget_bias is not None
        return ForgetBias(layer.forget_bias, default.gate, default.gates)
    chrono = Chrono(layer.chrono_t_max)
    if default.gates == GATES:
        return chrono
    blocks: list[Initializer] = [zeros] * default.gates
    blocks[default.gate] = ForgetGateOf(chrono)
    return EachGate(tuple(blocks))


def policy_of(dtype: DType | Dtypes) -> Policy:
    """The `Policy` that the dtypes of a config describe.

    Raises:
      FieldErrors: if one of them is float64, and JAX does not have float64.
    """
    if isinstance(dtype, str):
        dtype = Dtypes(param=dtype)
    policy = dataclasses.astuple(dtype)
    if "float64" in policy and not jax.config.read("jax_enable_x64"):
        raise FieldErrors({"dtype": "float64 needs the environment variable JAX_ENABLE_X64=1"})
    return Policy(*policy)


@contextmanager
def _errors_at(name: str) -> Iterator[None]:
    """Turn an error of the block into one of a field."""
    try:
        yield
    except FieldErrors:
        raise
    except (TypeError, ValueError) as error:
        raise FieldErrors({name: short_text(str(error), 150)}) from None
    # A cell of one's own may raise anything.
    except Exception as error:
        raise FieldErrors({name: where(error)}) from None


@contextmanager
def _errors_of_cell(layer: LayerConfig) -> Iterator[None]:
    """Turn an error of a cell into one of the field that its message names first."""
    try:
        with _errors_at("cell"):
            yield
    except FieldErrors as error:
        if set(error.errors) != {"cell"}:
            raise
        text = error.errors["cell"]
        places = {
            name: found.start()
            for name, own in layer.own.items()
            if (found := re.search(rf"\b{own.argument}\b", text))
        }
        raise FieldErrors({min(places, key=places.__getitem__, default="cell"): text}) from None
