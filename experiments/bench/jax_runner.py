"""What implementations in JAX share: how their calls are compiled, and what that takes."""

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
"""``params, xs, run`` with ``run(params, xs) -> (h_T, outputs)``."""

CellStep = tuple[Any, Any, Any, Callable[[Any, Any, Any], Any]]
"""``params, state, x, step`` with ``step(params, state, x) -> state``."""


class JaxDevice(Runner):
    """Whatever runs in JAX.

    Args:
      name: the implementation's name.
      device: ``"cpu"`` or ``"gpu"``.
      threads: threads to use; JAX takes the cores that the process may run on.

    Raises:
      Unavailable: when JAX has no such device.
    """

    packages = ("jax", "jaxlib", "numpy")

    def __init__(self, name: str, device: str, threads: int) -> None:
        super().__init__(name, device, threads)
        jax.config.update("jax_enable_compilation_cache", False)
        if jax.default_backend() != device:
            raise Unavailable(f"JAX finds no {device.upper()} here")

    def device_name(self) -> str:
        """The kind of JAX's first device."""
        return jax.devices()[0].device_kind


class JaxRunner(JaxDevice):
    """An LSTM in JAX: subclasses say what network and what cell it is.

    Args:
      name, device, threads: as for `JaxDevice`.
    """

    def __init__(self, name: str, device: str, threads: int) -> None:
        super().__init__(name, device, threads)
        self._temporaries: dict[Case, float] = {}

    @abstractmethod
    def network(self, case: Case) -> Network:
        """The layer over a sequence.

        Args:
          case: its sizes.
        """

    def cell(self, case: Case) -> CellStep:
        """The cell, for a step at a time.

        Args:
          case: its sizes.

        Raises:
          Unavailable: when a subclass has none.
        """
        raise Unavailable("it is measured on sequences alone")

    def prepare(self, quantity: str, case: Case) -> Call:
        """Compile a quantity.

        Args:
          quantity: what is measured.
          case: on which problem.
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
        """Measure a quantity; compilation has its own, and memory XLA's own account besides.

        Args:
          quantity: what to measure.
          case: on which problem.
          budget: seconds to repeat a call for.
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
            outputs; or ``"memory"``, those for the squares of the final ``h``.
          case: on which problem.
        """
        params, xs, run = self.network(case)

        def loss(params: Any, xs: Any) -> Any:
            final, outputs = run(params, xs)
            return outputs.sum() if quantity == "training" else (final**2).sum()

        if quantity == "forward":
            return lambda params, xs: run(params, xs)[1], (params, xs)
        return jax.value_and_grad(loss), (params, xs)

    def _prepare_step(self, case: Case) -> Call:
        params, state, x, step = self.cell(case)
        compiled = jax.jit(step, donate_argnums=1)

        def call() -> None:
            nonlocal state
            state = jax.block_until_ready(compiled(params, state, x))

        return call

    def _compilation(self, quantity: str, case: Case) -> Values:
        """Seconds from a function to a program, nothing of it known before."""
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
    """Standard normal inputs, the same for all.

    Args:
      shape: their shape.
    """
    return jax.numpy.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
