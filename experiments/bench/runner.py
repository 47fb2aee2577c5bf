"""The base class of all runners: a runner measures one implementation inside its worker."""

from abc import ABC, abstractmethod

from experiments.bench.cases import Case
from experiments.bench.timing import Call, Values, memory_growth, seconds


class Unavailable(Exception):  # noqa: N818 - a reason to skip, not an error
    """The implementation, or one of its quantities, is not available; contains the reason."""


class Runner(ABC):
    """Makes the calls of one implementation, and keeps them for later rounds.

    Args:
      name: the name of the implementation.
      device: ``"cpu"`` or ``"gpu"``.
      threads: number of threads.

    Raises:
      Unavailable: if the implementation is not available on this machine.
    """

    packages: tuple[str, ...] = ()
    """The distributions whose versions are recorded."""

    def __init__(self, name: str, device: str, threads: int) -> None:
        self.name, self.device, self.threads = name, device, threads
        self._calls: dict[tuple[str, Case], Call] = {}

    @abstractmethod
    def device_name(self) -> str:
        """The name of the device, from its library."""

    @abstractmethod
    def prepare(self, quantity: str, case: Case) -> Call:
        """Build the call that is measured, and compile it if the library compiles.

        Args:
          quantity: ``"forward"``, ``"training"``, ``"step"`` or ``"memory"``.
          case: the case.

        Raises:
          Unavailable: if there is no such call.
        """

    def backend(self, quantity: str, case: Case) -> str | None:
        """The backend that computes a quantity, or None if there is no choice.

        Args:
          quantity: the quantity to measure.
          case: the case.
        """
        del quantity, case
        return None

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity once.

        Args:
          quantity: the quantity to measure.
          case: the case.
          budget: seconds for which the call is repeated.

        Returns:
          Minima and medians by name.

        Raises:
          Unavailable: if it cannot be measured here.
        """
        call = self._calls.get((quantity, case)) or self.prepare(quantity, case)
        self._calls[quantity, case] = call
        if quantity != "memory":
            return {"seconds": seconds(call, budget)}
        # Measure growth on the first call of the process, before the allocator keeps memory.
        growth = memory_growth(call)
        return {"growth": single(growth), "seconds": seconds(call, budget)}


def single(value: float) -> dict[str, float]:
    """Minimum and median of a value that was measured once."""
    return {"min": value, "median": value}
