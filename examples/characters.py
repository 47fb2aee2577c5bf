"""The next character of Python's own standard library: a Flax NNX language model.

Every tenth file of the standard library is for the test. Thirty-two streams of text are read in
chunks of 64 characters, each from the carry of the one before it: truncated backpropagation.

States:   1.9 bits a character, where the best n-gram model of the same text needs 2.1. Then it
          writes some Python, one character at a time.
Command:  python examples/characters.py      (a minute and a half on two cores)
"""

import sysconfig
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ngram import ngram_bits

from lstm_jax.nnx import LSTM

CHARACTERS, STREAMS, CHUNK, UPDATES = 128, 32, 64, 1200


class LanguageModel(nnx.Module):
    """Characters in, logits for the next ones out."""

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(CHARACTERS, 64, rngs=rngs)
        self.lstm = LSTM(64, features, return_carry=True, rngs=rngs)
        self.readout = nnx.Linear(features, CHARACTERS, rngs=rngs)

    def __call__(self, text: jax.Array, carry=None):
        """The carry and logits ``[B, T, 128]`` after text ``[B, T]``."""
        carry, hs = self.lstm(self.embed(text), initial_carry=carry)
        return carry, self.readout(hs)


def load() -> tuple[np.ndarray, np.ndarray]:
    """The text for training and that of the test, as ASCII codes."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [file.read_text("utf-8").encode("ascii", "replace") for file in files]
    test = b"".join(texts[::10])
    del texts[::10]
    return np.array([*b"".join(texts)], np.int32), np.array([*test], np.int32)


def streams(text: np.ndarray, length: int) -> jax.Array:
    """Chunks ``[N, STREAMS, length + 1]``; the last character of one is the first of the next."""
    T = (len(text) - 1) // STREAMS // length * length
    rows = np.stack([text[k * T : (k + 1) * T + 1] for k in range(STREAMS)])
    return jnp.stack([rows[:, t : t + length + 1] for t in range(0, T, length)])


def loss(model: LanguageModel, chunk: jax.Array, carry):
    """Nats a character, and the carry for the next chunk."""
    carry, logits = model(chunk[:, :-1], carry)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, chunk[:, 1:])
    return losses.mean(), carry


@nnx.jit
def update(model: LanguageModel, optimizer: nnx.Optimizer, chunk: jax.Array, carry):
    """One step of training."""
    (value, carry), grads = nnx.value_and_grad(loss, has_aux=True)(model, chunk, carry)
    optimizer.update(model, grads)
    return value, carry


def write(model: LanguageModel, start: str, length: int, key: jax.Array) -> str:
    """Text that goes on from `start`: each character drawn, and read again."""
    step = nnx.jit(LanguageModel.__call__)
    carry, logits = step(model, jnp.array([[ord(c) for c in start]]), None)
    for k in jax.random.split(key, length):
        drawn = jax.random.categorical(k, 1.5 * logits[:, -1:])
        start += chr(int(drawn[0, 0]))
        carry, logits = step(model, drawn, carry)
    return start


def main() -> dict[str, float]:
    """Train, write, and give the bits a character of everyone."""
    train, test = load()
    chunks = streams(train, CHUNK)
    model = LanguageModel(256, rngs=nnx.Rngs(0))
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 50, UPDATES)
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)
    carry = model.lstm.cell.initial_state((STREAMS,))
    for k in range(UPDATES):
        value, carry = update(model, optimizer, chunks[k % len(chunks)], carry)
        if k % 200 == 199:
            print(f"update {k + 1}  {float(value) / np.log(2):.2f} bits a character")
    bits = {f"{n}-gram": ngram_bits(train, test, n) for n in (4, 5, 6)}
    (whole,) = streams(test, (len(test) - 1) // STREAMS)
    bits["LSTM"] = float(nnx.jit(loss)(model, whole, None)[0]) / np.log(2)
    print("bits a character:", ", ".join(f"{name} {b:.2f}" for name, b in bits.items()))
    print(write(model, "def ", 300, jax.random.key(1)))
    return bits


if __name__ == "__main__":
    main()
