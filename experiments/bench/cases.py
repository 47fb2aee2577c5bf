"""The problems that implementations are measured on, and the work in each."""

from dataclasses import asdict, dataclass
from typing import Any

Remat = str | int | None


@dataclass(frozen=True)
class Case:
    """One LSTM layer over one batch.

    Attributes:
      name: what tables call it.
      B: sequences in the batch.
      T: time steps.
      I: input features.
      H: hidden units.
      remat: what a gradient keeps, as `lstm_jax.unroll` takes it; None keeps everything.
      group: cases of one group share a table.
      threads: threads to use, or None for all.
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
        """Operations in the matrix products of a quantity, or None where that says little.

        Args:
          quantity: what is measured.

        >>> case = Case("tiny", B=2, T=3, I=4, H=5)
        >>> case.flops("forward"), case.flops("training"), case.flops("step")
        (2160, 5520, 720)
        """
        gates = 8 * self.B * self.H
        match quantity:
            case "forward":
                return self.T * gates * (self.H + self.I)
            case "training":
                # Forward, the gradients of both kernels, and that of h: none of the input's.
                return self.T * gates * (2 * (self.H + self.I) + self.H)
            case "step":
                return gates * (self.H + self.I)
            case "product":
                return 2 * self.B * self.H**2
        return None

    def sizes(self) -> str:
        """The sizes as a person reads them.

        >>> Case("tiny", B=2, T=3, I=4, H=5).sizes()
        'B 2, T 3, I 4, H 5'
        """
        return f"B {self.B}, T {self.T:,}, I {self.I}, H {self.H}"

    def as_dict(self) -> dict[str, Any]:
        """The fields, as ``Case(**fields)`` takes them."""
        return asdict(self)
