"""Training from config files; `load_run` gives a finished run back."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.loading import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # Imported when used: commands and tasks import this package, and need not wait for JAX.
    if name in __all__:
        from experiments import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
