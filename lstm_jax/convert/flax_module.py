"""What nnx modules have besides parameters: settings of cells, and how directions are merged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.bidirectional import Merge, bidirectional
from lstm_jax.convert.cell_of_params import layer_cell
from lstm_jax.convert.flax_layer import RNNS
from lstm_jax.convert.layer_params import Layer

_DEFAULTS = {"gate_fn": jax.nn.sigmoid, "activation_fn": jnp.tanh, "residual": False}
_OUR_NAMES = {"gate_fn": "gate_activation", "activation_fn": "activation"}
_MERGES: dict[Any, Merge] = {jnp.add: "sum", jnp.multiply: "multiply"}
_CONCATENATE = ("flax.nnx.nn.recurrent", "_concatenate")


@dataclass(frozen=True)
class ModuleSettings:
    """Settings of a layer.

    Args:
      cells: for each direction the fields of our cell that are not the default.
      merge: how two directions are merged.
      changed: descriptions of the settings that are not the default.
    """

    cells: tuple[dict[str, Any], ...] = ({}, {})
    merge: Merge = "concat"
    changed: tuple[str, ...] = ()

    def cell(self, layer: Layer) -> Any:
        """Return the cell of a layer with these settings."""
        if len(layer) == 2 and layer[0] is layer[1]:
            one = layer_cell(layer[:1], self.cells[:1], self.merge)
            return bidirectional(one, tied=True, merge=self.merge)
        return layer_cell(layer, self.cells[: len(layer)], self.merge)


def settings_of(function: str, node: Any) -> ModuleSettings:
    """Read the settings of a cell, an `RNN` or a `Bidirectional`.

    Args:
      function: the public function to name in errors.
      node: the nnx module; trees of parameters have no settings.

    Returns:
      Its settings.

    Raises:
      ValueError: when no cell here has them.

    >>> settings_of("flax.to_cell", {"kernel": 1.0}).merge
    'concat'
    """
    if isinstance(node, Mapping):
        return ModuleSettings()
    rnns = [getattr(node, name) for name in RNNS if hasattr(node, name)]
    if not rnns and getattr(node, "reverse", False):
        raise ValueError(
            f"{function}: reverse=True is an argument of unroll here: convert the cell of the RNN"
        )
    merge_fn = getattr(node, "merge_fn", None)
    default = (getattr(merge_fn, "__module__", ""), getattr(merge_fn, "__name__", ""))
    merge: Merge | None = "concat" if not rnns or default == _CONCATENATE else None
    merge = merge or next((name for each, name in _MERGES.items() if each is merge_fn), None)
    if merge is None:
        raise ValueError(
            f"{function}: merge_fn must concatenate, or be jnp.add or jnp.multiply; got {merge_fn}"
        )
    cells: list[dict[str, Any]] = []
    for rnn in rnns or [node]:
        cell = getattr(rnn, "cell", rnn)
        given = {name: getattr(cell, name, default) for name, default in _DEFAULTS.items()}
        cells.append({name: value for name, value in given.items() if value is not _DEFAULTS[name]})
    changed = [name for each in cells for name in each]
    changed += ["merge_fn"] * (merge != "concat")
    ours = ({_OUR_NAMES.get(name, name): value for name, value in each.items()} for each in cells)
    return ModuleSettings(tuple(ours), merge, tuple(dict.fromkeys(changed)))
