"""The runner of a plain NumPy step, as a peer without a library."""

import numpy as np

from experiments.bench.cases import Case
from experiments.bench.runner import Runner, Unavailable
from experiments.bench.timing import Call


class NumPy(Runner):
    """The LSTM step in NumPy: two products and the gates."""

    packages = ("numpy",)

    def device_name(self) -> str:
        """The CPU: NumPy has no other device."""
        return "cpu"

    def prepare(self, quantity: str, case: Case) -> Call:
        """Make the step, with random weights.

        Args:
          quantity: ``"step"``; NumPy has no gradients.
          case: the sizes.

        Raises:
          Unavailable: for other quantities.
        """
        if quantity != "step":
            raise Unavailable(f"no {quantity} in NumPy")
        draw = np.random.default_rng(0)
        scale = np.float32(case.H**-0.5)
        kernel = scale * draw.standard_normal((case.I, 4 * case.H), np.float32)
        recurrent_kernel = scale * draw.standard_normal((case.H, 4 * case.H), np.float32)
        bias = np.zeros(4 * case.H, np.float32)
        x = draw.standard_normal((case.B, case.I), np.float32)
        h = c = np.zeros((case.B, case.H), np.float32)

        def call() -> None:
            nonlocal h, c
            i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)

        return call


def sigmoid(z: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-z))``."""
    return 1 / (1 + np.exp(-z))
