"""Text from a character model, one character at a time."""

import jax
import jax.numpy as jnp
from jax import lax

from experiments.model import Model, ModelParams
from experiments.tasks.corpus import decode, encode
from lstm_jax.types import PRNGKey


def generate(
    model: Model,
    params: ModelParams,
    key: PRNGKey,
    characters: int,
    prompt: str = "def ",
    temperature: float = 0.7,
) -> str:
    """Continue a prompt: ``x_{t+1} ~ softmax(y_t / temperature)``.

    Args:
      model: the model.
      params: its parameters.
      key: typed random key.
      characters: how many to draw.
      prompt: how the text starts, one character at least.
      temperature: below 1 prefers likely characters.

    Returns:
      The prompt and what follows it.
    """
    cell, shown = model.cell, jnp.asarray(encode(prompt), jnp.int32)

    def read(state, x):
        state = cell.step(params.cell, state, model.encode(x))
        return state, None

    def write(carry, key):
        state, x = carry
        state = cell.step(params.cell, state, model.encode(x))
        logits = model.readout(params, state[0]) / temperature
        x = jax.random.categorical(key, logits)
        return (state, x), x

    state, _ = lax.scan(read, cell.initial_state(), shown[:-1])
    first = (state, shown[-1])
    _, drawn = jax.jit(lambda: lax.scan(write, first, jax.random.split(key, characters)))()
    return prompt + decode(drawn)
