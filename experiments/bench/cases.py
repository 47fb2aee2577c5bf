"""The cases of the benchmarks: sizes of an LSTM layer, and its floating-point operations."""

from dataclasses import asdict, dataclass
from typing import Any

Remat = str | int | None


@dataclass(frozen=True)
class Case:
    """One LSTM layer over one batch.

    Attributes:
      name: its name in tables.
      B: sequences in the batch.
      T: time steps.
      I: input features.
      H: hidden units.
      remat: the argument of `lstm_jax.unroll`; None keeps everything for the gradient.
      group: cases of the same group are in the same table.
      threads: number of threads, or None for all.
    """

    name: str
    B: int
    T: int
    I: int  # noqa: E741 - the field's letter
    H: int
    remat: Remat = None
    group: str = ""
    threads: int | None = None

    def flops(self, quantity: str) -> int | None:
        """Operations of the matrix products of a quantity, or None if that is not meaningful.

        Args:
          quantity: the quantity to measure.

        >>> case = Case("tiny", B=2, T=3, I=4, H=5)
        >>> case.flops("forward"), case.flops("training"), case.flops("step")
        (2160, 5520, 720)
        """
        gates = 8 * self.B * self.H
        match quantity:
            case "forward":
                return self.T * gates * (self.H + self.I)
            case "training":
                # Forward, the gradients of both kernels and of h; the input needs no gradient.
                return self.T * gates * (2 * (self.H + self.I) + self.H)
            case "step":
                return gates * (self.H + self.I)
            case "product":
                return 2 * self.B * self.H**2
        return None

    def sizes(self) -> str:
        """Format the sizes.

        >>> Case("tiny", B=2, T=3, I=4, H=5).sizes()
        'B 2, T 3, I 4, H 5'
        """
        return f"B {self.B}, T {self.T:,}, I {self.I}, H {self.H}"

    def as_dict(self) -> dict[str, Any]:
        """The fields as a dict, such that ``Case(**fields)`` equals the case."""
        return asdict(self)
