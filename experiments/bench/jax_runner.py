"""The base classes of runners in JAX: how calls are compiled, and how compilation is timed."""

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.bench.cases import Case
from experiments.bench.runner import Runner, Unavailable, single
from experiments.bench.timing import Call, Values

Network = tuple[Any, Any, Callable[[Any, Any], tuple[Any, Any]]]
"""``params, xs, apply`` with ``apply(params, xs) -> (h_T, outputs)``."""

CellStep = tuple[Any, Any, Any, Callable[[Any, Any, Any], Any]]
"""``params, state, x, step`` with ``step(params, state, x) -> state``."""


class JaxDevice(Runner):
    """A runner in JAX.

    Args:
      name: the name of the implementation.
      device: ``"cpu"`` or ``"gpu"``.
      threads: number of threads; JAX uses all cores of the process.

    Raises:
      Unavailable: if JAX has no such device.
    """

    packages = ("jax", "jaxlib", "numpy")

    def __init__(self, name: str, device: str, threads: int) -> None:
        super().__init__(name, device, threads)
        jax.config.update("jax_enable_compilation_cache", False)
        if jax.default_backend() != device:
            raise Unavailable(f"JAX finds no {device.upper()} here")

    def device_name(self) -> str:
        """The kind of the first device."""
        return jax.devices()[0].device_kind


class JaxRunner(JaxDevice):
    """An LSTM in JAX: subclasses define the network and the cell.

    Args:
      name, device, threads: as for `JaxDevice`.
    """

    def __init__(self, name: str, device: str, threads: int) -> None:
        super().__init__(name, device, threads)
        self._temporaries: dict[Case, float] = {}

    @abstractmethod
    def network(self, case: Case) -> Network:
        """The layer for a whole sequence.

        Args:
          case: the sizes.
        """

    def cell(self, case: Case) -> CellStep:
        """The cell for a single step.

        Args:
          case: the sizes.

        Raises:
          Unavailable: if a subclass defines no cell.
        """
        raise Unavailable("it is measured on sequences alone")

    def prepare(self, quantity: str, case: Case) -> Call:
        """Compile the call of a quantity.

        Args:
          quantity: the quantity to measure.
          case: the case.
        """
        if quantity == "step":
            return self._prepare_step(case)
        function, arguments = self.function(quantity, case)
        compiled = jax.jit(function).lower(*arguments).compile()
        if quantity == "memory":
            analysis = compiled.memory_analysis()
            if analysis is not None:
                self._temporaries[case] = analysis.temp_size_in_bytes / 2**20
        return lambda: jax.block_until_ready(compiled(*arguments))

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity: also compilation, and for memory the temporaries that XLA reports.

        Args:
          quantity: the quantity to measure.
          case: the case.
          budget: seconds for which the call is repeated.
        """
        if quantity.startswith("compile_"):
            return self._compilation(quantity.removeprefix("compile_"), case)
        values = super().measure(quantity, case, budget)
        if quantity == "memory" and case in self._temporaries:
            values["temporaries"] = single(self._temporaries[case])
        return values

    def function(self, quantity: str, case: Case) -> tuple[Callable[..., Any], tuple[Any, Any]]:
        """The function of a quantity, and its arguments.

        Args:
          quantity: ``"forward"``; ``"training"``, the gradients of all weights for the sum of the
            outputs; or ``"memory"``, the gradients for the sum of squares of the final ``h``.
          case: the case.
        """
        params, xs, apply = self.network(case)

        def loss(params: Any, xs: Any) -> Any:
            final, outputs = apply(params, xs)
            return outputs.sum() if quantity == "training" else (final**2).sum()

        if quantity == "forward":
            return lambda params, xs: apply(params, xs)[1], (params, xs)
        return jax.value_and_grad(loss), (params, xs)

    def _prepare_step(self, case: Case) -> Call:
        params, state, x, step = self.cell(case)
        compiled = jax.jit(step, donate_argnums=1)

        def call() -> None:
            nonlocal state
            state = jax.block_until_ready(compiled(params, state, x))

        return call

    def _compilation(self, quantity: str, case: Case) -> Values:
        """Seconds from a function to an executable, with empty caches."""
        function, arguments = self.function(quantity, case)
        jax.clear_caches()
        times = [time.perf_counter()]
        traced = jax.jit(function).trace(*arguments)
        times.append(time.perf_counter())
        lowered = traced.lower()
        times.append(time.perf_counter())
        lowered.compile()
        times.append(time.perf_counter())
        trace, lower, compile_ = np.diff(times).tolist()
        return {
            "trace": single(trace),
            "lower": single(lower),
            "compile": single(compile_),
            "total": single(trace + lower + compile_),
        }


def inputs(*shape: int) -> jax.Array:
    """Standard normal inputs, equal for all implementations.

    Args:
      shape: the shape.
    """
    return jax.numpy.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
