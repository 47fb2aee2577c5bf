"""The sinks of a run, chosen by name; one that fails is turned off, and the training goes on."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.config.components import find_component
from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.sinks.sink import Sink
from experiments.sinks.tensorboard import TensorBoard
from experiments.sinks.weights_and_biases import WeightsAndBiases

BUILT_IN = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
METHODS = ("start", "write", "finish")


class Sinks:
    """Several sinks as one, which raises nothing.

    Args:
      sinks: sinks by name.
    """

    def __init__(self, sinks: dict[str, Sink] | None = None) -> None:
        self._sinks = dict(sinks or {})

    @classmethod
    def named(cls, names: Sequence[str]) -> "Sinks":
        """The sinks of these names or import paths.

        Raises:
          UserError: if there is no such sink, or a package is missing.
        """
        return cls({name: _make(name) for name in names})

    def start(self, workdir: Path, config: Config, update: int) -> None:
        """Start all sinks."""
        self._each(lambda sink: sink.start(workdir, config, update))

    def write(self, record: dict[str, Any]) -> None:
        """Add a record to all sinks."""
        self._each(lambda sink: sink.write(record))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """End all sinks."""
        self._each(lambda sink: sink.finish(summary))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                call(sink)
            # A sink may be anyone's; none is worth a training.
            except Exception as error:
                del self._sinks[name]
                reason = str(error).partition("\n")[0] or type(error).__name__
                print(
                    f"--sink {name} is off from here on: {reason:.200}; metrics.jsonl has it all",
                    file=sys.stderr,
                )


def _make(name: str) -> Sink:
    try:
        sink = find_component("sink", name, BUILT_IN)()
    except ImportError as error:
        raise UserError(f"--sink {name}: {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"--sink: {error}") from None
    missing = [method for method in METHODS if not callable(getattr(sink, method, None))]
    if missing:
        raise UserError(f"--sink {name}: has no method {missing[0]}")
    return sink
