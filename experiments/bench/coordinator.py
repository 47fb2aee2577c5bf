"""Workers taken in turn, round after round, one at work at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from experiments.bench.cases import Case
from experiments.bench.implementations import CEILING, Implementation
from experiments.bench.worker_process import WorkerEnded, WorkerProcess
from experiments.bench.suites import Suite
from experiments.bench.timing import Values


class Job(NamedTuple):
    """One thing to measure, once in every round."""

    implementation: str
    quantity: str
    case: Case


class Turn(NamedTuple):
    """What comes next, for who watches."""

    round: int
    rounds: int
    done: int
    total: int
    job: Job


class Trouble(NamedTuple):
    """Why a job was not measured, or not again."""

    kind: Literal["skipped", "failed"]
    reason: str


@dataclass
class Measured:
    """What all rounds came to.

    Attributes:
      visits: what every visit of a job measured.
      troubles: the jobs that were not measured, or not to the end.
      reports: what every worker said of itself, by implementation.
      taken: what a job was computed by, where its implementation says so.
    """

    visits: dict[Job, list[Values]] = field(default_factory=dict)
    troubles: dict[Job, Trouble] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    taken: dict[Job, str] = field(default_factory=dict)


def jobs_of(suite: Suite, implementations: Sequence[Implementation]) -> list[Job]:
    """What a round measures, in its order: all implementations on a problem, then on the next.

    Args:
      suite: the problems.
      implementations: who is measured.
    """
    products = [Job(CEILING.name, "product", case) for case in suite.products()]
    return products + [
        Job(implementation.name, quantity, case)
        for case in suite.cases
        for quantity in suite.quantities
        for implementation in implementations
        # What a gradient keeps is for other libraries' users to arrange by hand.
        if implementation.ours or case.remat is None
    ]


def measure(
    suite: Suite,
    implementations: Sequence[Implementation],
    rounds: int,
    threads: int,
    show: Callable[[Turn], None],
) -> Measured:
    """Visit every implementation for every problem, in every round.

    Args:
      suite: the problems.
      implementations: who is measured.
      rounds: how many rounds.
      threads: threads that each may use, where a problem does not say.
      show: called before every visit.

    Returns:
      All that was measured; implementations that are not there or break are named, and no error.
    """
    jobs, measured = jobs_of(suite, implementations), Measured()
    workers = Workers(suite, {c.name: c for c in (*implementations, CEILING)}, threads, measured)
    try:
        for round_ in range(rounds):
            for done, job in enumerate(jobs):
                if job not in measured.troubles:
                    position = round_ * len(jobs) + done
                    show(Turn(round_ + 1, rounds, position, rounds * len(jobs), job))
                    workers.visit(job)
        workers.end()
    finally:
        # Nobody is left where all went well.
        workers.end(at_once=True)
    return measured


class Workers:
    """The processes of a run, each started at its first visit.

    Args:
      suite: what is measured.
      implementations: who may be visited, by name.
      threads: threads that each may use, where a problem does not say.
      measured: takes what comes out.
    """

    def __init__(
        self,
        suite: Suite,
        implementations: dict[str, Implementation],
        threads: int,
        measured: Measured,
    ) -> None:
        self._suite, self._contenders, self._threads = suite, implementations, threads
        self._measured = measured
        self._running: dict[tuple[str, int], WorkerProcess] = {}
        self._absent: dict[str, Trouble] = {}

    def visit(self, job: Job) -> None:
        """Have a job measured once more.

        Args:
          job: which.
        """
        worker = self._worker(job)
        if worker is None:
            self._measured.troubles[job] = self._absent[job.implementation]
            return
        request = {
            "quantity": job.quantity,
            "case": job.case.as_dict(),
            "budget": self._suite.budget,
        }
        try:
            answer = worker.ask(request)
        except WorkerEnded as reason:
            # The next job of this implementation gets a new process; this one would break it again.
            self._end(job)
            answer: dict[str, Any] = {"error": str(reason)}
        trouble = _trouble(answer)
        if trouble:
            self._measured.troubles[job] = trouble
        else:
            self._measured.visits.setdefault(job, []).append(answer["values"])
            if answer.get("taken"):
                self._measured.taken[job] = answer["taken"]
        if self._suite.fresh:
            self._end(job)

    def end(self, *, at_once: bool = False) -> None:
        """End every process.

        Args:
          at_once: without waiting for them to finish.
        """
        while self._running:
            # Ended before it is forgotten, so that an interruption here loses none.
            key = next(iter(self._running))
            self._running[key].end(at_once=at_once)
            del self._running[key]

    def _worker(self, job: Job) -> WorkerProcess | None:
        """The process for a job, or None where its implementation is absent."""
        key = self._key(job)
        if job.implementation in self._absent or key in self._running:
            return self._running.get(key)
        implementation = self._contenders[job.implementation]
        worker = self._running[key] = WorkerProcess(implementation, self._suite.device, key[1])
        try:
            report = worker.begin()
        except WorkerEnded as reason:
            report = {"error": str(reason)}
        trouble = _trouble(report)
        if trouble:
            self._absent[job.implementation] = trouble
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


def _trouble(answer: dict[str, Any]) -> Trouble | None:
    if "unavailable" in answer:
        return Trouble("skipped", answer["unavailable"])
    return Trouble("failed", answer["error"]) if "error" in answer else None
