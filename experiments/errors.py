"""The two ways a run ends early, and the exit code of each."""


class UserError(Exception):
    """Bad usage, config or data; shown as one short message, exit code 2."""


class TrainingFailed(Exception):  # noqa: N818 - it reads as the event it is
    """Training cannot go on, with the metric and the update named; exit code 1."""


class Interrupted(Exception):  # noqa: N818
    """A signal arrived and the state is saved; exit code 128 + the signal's number."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum
