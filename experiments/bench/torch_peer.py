"""PyTorch, imported when its worker makes it."""

import numpy as np

from experiments.bench.cases import Case
from experiments.bench.runner import Runner, Unavailable
from experiments.bench.timing import Call, Values

# Not every machine has it, so a type checker may not find it.
# pyright: reportMissingImports=false


class Torch(Runner):
    """``torch.nn.LSTM``, time first."""

    packages = ("torch",)

    def __init__(self, name: str, device: str, threads: int) -> None:
        import torch

        super().__init__(name, device, threads)
        if device == "gpu" and not torch.cuda.is_available():
            raise Unavailable("PyTorch finds no GPU here")
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.torch, self.place = torch, "cuda" if device == "gpu" else "cpu"

    def device_name(self) -> str:
        """The GPU's name."""
        return self.torch.cuda.get_device_name() if self.place == "cuda" else "cpu"

    def prepare(self, quantity: str, case: Case) -> Call:
        """Make the module, and the call of a quantity.

        Args:
          quantity: what is measured.
          case: on which problem.
        """
        if quantity == "step":
            return self._prepare_step(case)
        torch = self.torch
        lstm = torch.nn.LSTM(case.I, case.H, device=self.place)
        xs, weights = self._inputs(case.T, case.B, case.I), list(lstm.parameters())

        def forward() -> None:
            with torch.inference_mode():
                lstm(xs)
            self._wait()

        def gradient() -> None:
            outputs, (h, _) = lstm(xs)
            loss = outputs.sum() if quantity == "training" else (h**2).sum()
            torch.autograd.grad(loss, weights)
            self._wait()

        return forward if quantity == "forward" else gradient

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity; steps of a stream are all in one inference mode, as a user's are.

        Args:
          quantity: what to measure.
          case: on which problem.
          budget: seconds to repeat a call for.
        """
        with self.torch.inference_mode(quantity == "step"):
            return super().measure(quantity, case, budget)

    def _prepare_step(self, case: Case) -> Call:
        torch = self.torch
        cell, x = torch.nn.LSTMCell(case.I, case.H, device=self.place), self._inputs(case.B, case.I)
        state = (self._inputs(case.B, case.H), self._inputs(case.B, case.H))

        def call() -> None:
            nonlocal state
            state = cell(x, state)
            self._wait()

        return call

    def _inputs(self, *shape: int):
        array = np.random.default_rng(0).standard_normal(shape, np.float32)
        return self.torch.from_numpy(array).to(self.place)

    def _wait(self) -> None:
        if self.place == "cuda":
            self.torch.cuda.synchronize()
