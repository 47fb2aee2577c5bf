"""Exceptions that end a command, each with its exit code."""


class UserError(Exception):
    """Bad usage, config or data: one short message, exit code 2."""


class TrainingFailed(Exception):  # noqa: N818 - the name describes the event
    """Training cannot continue; names the metric and the update; exit code 1."""


class WriteFailed(TrainingFailed):
    """A full or read-only disk: what was saved before is intact, and the same command goes on."""


class Interrupted(Exception):  # noqa: N818 - the name describes the event
    """A signal stopped the training after its state was saved: exit code 128 + signal number."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum
