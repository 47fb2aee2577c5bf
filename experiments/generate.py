"""Generation of text with a character model, one character per step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

import lstm_jax as lj
from experiments.model import Model, ModelParams
from experiments.tasks.corpus import decode, encode
from lstm_jax.transforms.transform import needs_sequence
from lstm_jax.types import PRNGKey


def generates(model: Model) -> bool:
    """Whether a model goes step by step, so that it can read what it has generated."""
    return not needs_sequence(model.cell)


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
      model: the model; any but those that need the whole sequence, such as bidirectional ones.
      params: its parameters.
      key: typed random key.
      characters: number of characters to sample.
      prompt: the start of the text, at least one character.
      temperature: values below 1 prefer likely characters.

    Returns:
      The prompt and its continuation.

    Raises:
      ValueError: if the model needs the whole sequence, or the prompt is empty.
    """
    if not generates(model):
        raise ValueError(
            f"generate: model must go step by step; got {model.cell}, which reads the whole"
            " sequence before its first output"
        )
    if not prompt:
        raise ValueError("generate: prompt must have at least one character; got ''")
    cell, prompt_ids = model.cell, jnp.asarray(encode(prompt), jnp.int32)
    state, _ = lj.unroll(cell, params.cell, model.encode(prompt_ids[:-1]))

    def sample_next(carry: tuple[Any, Array], key: PRNGKey) -> tuple[tuple[Any, Array], Array]:
        state, x = carry
        state, h = lj.advance(cell, params.cell, state, model.encode(x))
        x = jax.random.categorical(key, model.readout(params, h) / temperature)
        return (state, x.astype(jnp.int32)), x

    keys = jax.random.split(key, characters)
    _, sampled = lax.scan(sample_next, (state, prompt_ids[-1]), keys)
    return prompt + decode(np.asarray(sampled))
