"""What every implementation answers, inside its worker."""

from abc import ABC, abstractmethod

from experiments.bench.cases import Case
from experiments.bench.timing import Call, Values, memory_growth, seconds


class Unavailable(Exception):  # noqa: N818 - it is no error: it names what is not there
    """The implementation, or this case of it, does not exist here, and why."""


class Runner(ABC):
    """One implementation: it makes the calls that are timed, and keeps them for later rounds.

    Args:
      name: the implementation's name.
      device: ``"cpu"`` or ``"gpu"``.
      threads: threads to use.

    Raises:
      Unavailable: when it does not exist on this machine.
    """

    packages: tuple[str, ...] = ()
    """The distributions whose versions matter."""

    def __init__(self, name: str, device: str, threads: int) -> None:
        self.name, self.device, self.threads = name, device, threads
        self._calls: dict[tuple[str, Case], Call] = {}

    @abstractmethod
    def device_name(self) -> str:
        """What the device calls itself."""

    @abstractmethod
    def prepare(self, quantity: str, case: Case) -> Call:
        """Make the call that a quantity is of, compiled where that is due, and not yet made.

        Args:
          quantity: ``"forward"``, ``"training"``, ``"step"`` or ``"memory"``.
          case: on which problem.

        Raises:
          Unavailable: when there is no such call.
        """

    def taken(self, quantity: str, case: Case) -> str | None:
        """What a quantity is computed by, where the implementation chooses among several.

        Args:
          quantity: what is measured.
          case: on which problem.
        """
        del quantity, case
        return None

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity, once more.

        Args:
          quantity: what to measure.
          case: on which problem.
          budget: seconds to repeat a call for.

        Returns:
          Minima and medians by name.

        Raises:
          Unavailable: when it cannot be measured here.
        """
        call = self._calls.get((quantity, case)) or self.prepare(quantity, case)
        self._calls[quantity, case] = call
        if quantity != "memory":
            return {"seconds": seconds(call, budget)}
        # On the first call of a process, before any allocator holds memory for later.
        growth = memory_growth(call)
        return {"growth": single(growth), "seconds": seconds(call, budget)}


def single(value: float) -> dict[str, float]:
    """A value that was measured once."""
    return {"min": value, "median": value}
