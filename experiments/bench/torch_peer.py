"""The runner of PyTorch, which is imported when it is used."""

import numpy as np

from experiments.bench.cases import Case
from experiments.bench.runner import Runner, Unavailable
from experiments.bench.timing import Call, Values

# A type checker may not find PyTorch: it is optional.
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
        self.torch, self.device_type = torch, "cuda" if device == "gpu" else "cpu"

    def device_name(self) -> str:
        """The name of the GPU, or ``"cpu"``."""
        return self.torch.cuda.get_device_name() if self.device_type == "cuda" else "cpu"

    def prepare(self, quantity: str, case: Case) -> Call:
        """Make the module and the call of a quantity.

        Args:
          quantity: the quantity to measure.
          case: the case.
        """
        if quantity == "step":
            return self._prepare_step(case)
        torch = self.torch
        lstm = torch.nn.LSTM(case.I, case.H, device=self.device_type)
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
        """Measure a quantity; all steps of a stream are in one inference mode.

        Args:
          quantity: the quantity to measure.
          case: the case.
          budget: seconds for which the call is repeated.
        """
        with self.torch.inference_mode(quantity == "step"):
            return super().measure(quantity, case, budget)

    def _prepare_step(self, case: Case) -> Call:
        torch = self.torch
        cell, x = (
            torch.nn.LSTMCell(case.I, case.H, device=self.device_type),
            self._inputs(case.B, case.I),
        )
        state = (self._inputs(case.B, case.H), self._inputs(case.B, case.H))

        def call() -> None:
            nonlocal state
            state = cell(x, state)
            self._wait()

        return call

    def _inputs(self, *shape: int):
        array = np.random.default_rng(0).standard_normal(shape, np.float32)
        return self.torch.from_numpy(array).to(self.device_type)

    def _wait(self) -> None:
        if self.device_type == "cuda":
            self.torch.cuda.synchronize()
