"""Memory that does not suffice, as one line with what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from experiments.config.schema import Config
from experiments.errors import TrainingFailed

SIGNS = ("RESOURCE_EXHAUSTED", "out of memory", "Out of memory", "OUT_OF_MEMORY")


@contextmanager
def memory_errors(config: Config, saved: str) -> Iterator[None]:
    """Turn an error of memory in the block, on the host or a device, into one line.

    Args:
      config: the config whose sizes are too large.
      saved: what is safe, for the message.

    Raises:
      TrainingFailed: if the memory does not suffice.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in SIGNS):
            raise
        reason = str(error).partition("\n")[0] or "of the host"
        raise TrainingFailed(
            f"out of memory ({reason:.120}); {saved}. Try a lower train.batch_size (now"
            f" {config.train.batch_size}), eval.batch_size ({config.eval.batch_size}), seeds"
            f" ({config.seeds}) or model.hidden_size, or model.remat, which keeps fewer states"
        ) from None
