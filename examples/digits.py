"""Handwritten digits read pixel by pixel: a Flax linen classifier.

The 1,797 digits of scikit-learn, 8 x 8 pixels, as sequences of 64 numbers; every fifth is a test
digit. The network reads one pixel per step and classifies after the last, so it has to remember the
first rows.

States:   98 % of the test digits correct, where logistic regression on all pixels has 96 %.
Command:  python examples/digits.py      (needs requirements/examples.txt; a minute on two cores)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from lstm_jax.initializers import Chrono
from lstm_jax.linen import LSTM

EPOCHS, BATCH = 60, 32


class Classifier(nn.Module):
    """An LSTM with a linear layer on its last output."""

    @nn.compact
    def __call__(self, pixels: jax.Array, training: bool = False) -> jax.Array:
        """Logits ``[B, 10]`` from pixels ``[B, 64, 1]``."""
        lstm = LSTM(features=96, bias_init=Chrono(t_max=64), recurrent_dropout=0.25)
        h_T = lstm(pixels, deterministic=not training)[:, -1]
        return nn.Dense(10)(nn.Dropout(0.25)(h_T, deterministic=not training))


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images ``[B, 64]`` in [0, 1] and labels, of the training and the test digits."""
    digits = load_digits()
    images, labels = digits.data.astype(np.float32) / 16, digits.target.astype(np.int32)
    test = np.arange(len(labels)) % 5 == 0
    return (images[~test], labels[~test]), (images[test], labels[test])


def main() -> dict[str, float]:
    """Train, and return the accuracy of every model on the test digits."""
    (images, labels), (test_images, test_labels) = load()
    model = Classifier()
    params = model.init(jax.random.key(0), images[:1, :, None])
    batches = len(labels) // BATCH
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.1),
        optax.adam(optax.cosine_decay_schedule(1e-2, EPOCHS * batches), b2=0.99),
    )

    def loss(params, images, labels, key):
        logits = model.apply(params, images[..., None], training=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def epoch(params, moments, key):
        def update(carry, x):
            (params, moments), (rows, key) = carry, x
            value, grads = jax.value_and_grad(loss)(params, images[rows], labels[rows], key)
            changes, moments = optimizer.update(grads, moments)
            return (optax.apply_updates(params, changes), moments), value

        rows = jax.random.permutation(key, len(labels))[: batches * BATCH].reshape(batches, BATCH)
        xs = rows, jax.random.split(key, batches)
        (params, moments), values = jax.lax.scan(update, (params, moments), xs)
        return params, moments, values.mean()

    images, labels = jnp.asarray(images), jnp.asarray(labels)
    moments = optimizer.init(params)
    predict = jax.jit(lambda params: model.apply(params, test_images[..., None]).argmax(-1))
    for k, key in enumerate(jax.random.split(jax.random.key(1), EPOCHS), start=1):
        params, moments, value = epoch(params, moments, key)
        if k % 10 == 0:
            accuracy = float(np.mean(np.asarray(predict(params)) == test_labels))
            print(f"epoch {k}  loss {float(value):.4f}  accuracy {accuracy:.1%}")

    linear = LogisticRegression(max_iter=1000).fit(np.asarray(images), np.asarray(labels))
    baseline = float(linear.score(test_images, test_labels))
    print(f"logistic regression on all pixels: {baseline:.1%}")
    return {"LSTM": accuracy, "logistic regression": baseline}


if __name__ == "__main__":
    main()
