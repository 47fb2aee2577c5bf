"""The coordinator: starts the workers, and measures with one worker at a time, in rounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from experiments.bench.cases import Case
from experiments.bench.implementation import CEILING, Implementation
from experiments.bench.suites import Suite
from experiments.bench.timing import Values
from experiments.bench.worker_process import WorkerEnded, WorkerProcess


class Job(NamedTuple):
    """A quantity of an implementation and a case; measured once per round."""

    implementation: str
    quantity: str
    case: Case


class Turn(NamedTuple):
    """The job that is measured next, for the display of the progress."""

    round: int
    rounds: int
    done: int
    total: int
    job: Job


class NotMeasured(NamedTuple):
    """Why a job was not measured, or not in all rounds."""

    kind: Literal["skipped", "failed"]
    reason: str


@dataclass
class Measured:
    """The measurements of all rounds.

    Attributes:
      values: the values of every job, one entry per round.
      not_measured: the jobs that were not measured, or not in all rounds.
      reports: versions and device, as reported by the worker of each implementation.
      backends: the backend that computed a job, for implementations that select one.
    """

    values: dict[Job, list[Values]] = field(default_factory=dict)
    not_measured: dict[Job, NotMeasured] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    backends: dict[Job, str] = field(default_factory=dict)


def jobs_of(suite: Suite, implementations: Sequence[Implementation]) -> list[Job]:
    """The jobs of a round in their order: all implementations for a case, then the next case.

    Args:
      suite: the suite.
      implementations: the implementations to measure.
    """
    products = [Job(CEILING.name, "product", case) for case in suite.products()]
    return products + [
        Job(implementation.name, quantity, case)
        for case in suite.cases
        for quantity in suite.quantities
        for implementation in implementations
        # Peers have no rematerialisation argument.
        if implementation.ours or case.remat is None
    ]


def measure(
    suite: Suite,
    implementations: Sequence[Implementation],
    rounds: int,
    threads: int,
    show: Callable[[Turn], None],
) -> Measured:
    """Measure every job once per round.

    Args:
      suite: the suite.
      implementations: the implementations to measure.
      rounds: number of rounds.
      threads: number of threads, for cases that do not set it.
      show: called before every measurement.

    Returns:
      The measurements. Implementations that are missing or fail are in `Measured.not_measured`;
      they raise no error.
    """
    jobs, measured = jobs_of(suite, implementations), Measured()
    workers = Workers(suite, {i.name: i for i in (*implementations, CEILING)}, threads, measured)
    try:
        for round_ in range(rounds):
            for done, job in enumerate(jobs):
                if job not in measured.not_measured:
                    position = round_ * len(jobs) + done
                    show(Turn(round_ + 1, rounds, position, rounds * len(jobs), job))
                    workers.measure(job)
        workers.end()
    finally:
        # Without an exception, all workers have ended already.
        workers.end(at_once=True)
    return measured


class Workers:
    """The worker processes, each started for its first job.

    Args:
      suite: the suite.
      implementations: the implementations by name.
      threads: number of threads, for cases that do not set it.
      measured: the measurements are added to it.
    """

    def __init__(
        self,
        suite: Suite,
        implementations: dict[str, Implementation],
        threads: int,
        measured: Measured,
    ) -> None:
        self._suite, self._implementations, self._threads = suite, implementations, threads
        self._measured = measured
        self._running: dict[tuple[str, int], WorkerProcess] = {}
        self._absent: dict[str, NotMeasured] = {}

    def measure(self, job: Job) -> None:
        """Measure a job once more.

        Args:
          job: the job.
        """
        worker = self._worker(job)
        if worker is None:
            self._measured.not_measured[job] = self._absent[job.implementation]
            return
        request = {
            "quantity": job.quantity,
            "case": job.case.as_dict(),
            "budget": self._suite.budget,
        }
        try:
            answer = worker.ask(request)
        except WorkerEnded as reason:
            # The next job of this implementation starts a new process; this job is not repeated.
            self._end(job)
            answer: dict[str, Any] = {"error": str(reason)}
        not_measured = _not_measured(answer)
        if not_measured:
            self._measured.not_measured[job] = not_measured
        else:
            self._measured.values.setdefault(job, []).append(answer["values"])
            if answer.get("backend"):
                self._measured.backends[job] = answer["backend"]
        if self._suite.fresh:
            self._end(job)

    def end(self, *, at_once: bool = False) -> None:
        """End every process.

        Args:
          at_once: kill the processes without waiting.
        """
        while self._running:
            # Remove the process after it has ended, so that an interrupt here leaves none behind.
            key = next(iter(self._running))
            self._running[key].end(at_once=at_once)
            del self._running[key]

    def _worker(self, job: Job) -> WorkerProcess | None:
        """The process for a job, or None if its implementation is missing."""
        key = self._key(job)
        if job.implementation in self._absent or key in self._running:
            return self._running.get(key)
        implementation = self._implementations[job.implementation]
        worker = self._running[key] = WorkerProcess(implementation, self._suite.device, key[1])
        try:
            report = worker.begin()
        except WorkerEnded as reason:
            report = {"error": str(reason)}
        not_measured = _not_measured(report)
        if not_measured:
            self._absent[job.implementation] = not_measured
            self._end(job)
            return None
        self._measured.reports[job.implementation] = report
        return worker

    def _end(self, job: Job) -> None:
        worker = self._running.get(self._key(job))
        if worker is not None:
            worker.end()
            del self._running[self._key(job)]

    def _key(self, job: Job) -> tuple[str, int]:
        return job.implementation, job.case.threads or self._threads


def _not_measured(answer: dict[str, Any]) -> NotMeasured | None:
    if "unavailable" in answer:
        return NotMeasured("skipped", answer["unavailable"])
    return NotMeasured("failed", answer["error"]) if "error" in answer else None
