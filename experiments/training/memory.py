"""Memory that does not suffice, as one line with what to lower."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from experiments.config.schema import Config
from experiments.errors import TrainingFailed

SIGN = re.compile(r"(?:RESOURCE_EXHAUSTED|OUT_OF_MEMORY|Out of memory|out of memory):?\s*([^\n]*)")
"""How JAX's errors of memory are told, with the reason after it."""


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
        found = SIGN.search(str(error))
        if found is None and not isinstance(error, MemoryError):
            raise
        reason = (found[1] if found else str(error).partition("\n")[0]).rstrip(".")
        reason = f" ({reason:.120})" if reason else ""
        raise TrainingFailed(
            f"out of memory{reason}; {saved}. Try a lower train.batch_size (now"
            f" {config.train.batch_size}), eval.batch_size ({config.eval.batch_size}), seeds"
            f" ({config.seeds}) or model.hidden_size, or model.remat, which keeps fewer states"
        ) from None
