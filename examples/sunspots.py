"""Next year's sunspots: an ensemble of sixteen LSTMs, in plain functions.

The yearly numbers since 1700, from statsmodels. The ensemble is trained on the years to 1920, and
predicts each later year from the years before it. The literature evaluates 1921 to 1955 (Weigend,
Huberman & Rumelhart 1990).

States:   a root mean square error of 12 for 1921 to 1955, where an autoregression on nine years has
          13.4 and last year's number 25; for all years to 2008, whose cycles are higher than all
          before, about 15, like the autoregression.
Command:  python examples/sunspots.py      (requirements/examples.txt; half a minute on two cores)
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from statsmodels.datasets import sunspots

import lstm_jax as lj

FIRST_YEAR, MEMBERS, UPDATES, HIDDEN = 1921, 16, 800, 16
cell = lj.recurrent_dropout(lj.LSTM(1, HIDDEN), 0.5)  # high rate, because there are only 221 years


def load() -> tuple[np.ndarray, int]:
    """The numbers, and the number of training years."""
    data = sunspots.load_pandas().data
    return data["SUNACTIVITY"].to_numpy(), int((data["YEAR"] < FIRST_YEAR).sum())


def autoregression(numbers: np.ndarray, trained: int, lags: int = 9) -> np.ndarray:
    """The baseline: least squares on the square roots of the last nine years."""
    z = np.sqrt(numbers)
    past = np.stack([z[lags - k - 1 : len(z) - k - 1] for k in range(lags)])
    past = np.concatenate([past, np.ones((1, len(z) - lags))])
    weights = np.linalg.lstsq(past[:, : trained - lags].T, z[lags:trained], rcond=None)[0]
    return (weights @ past[:, trained - lags :]) ** 2


def init(key: jax.Array) -> dict:
    """Parameters of one network."""
    k_cell, k_readout = jax.random.split(key)
    readout = jax.random.normal(k_readout, (HIDDEN,)) / np.sqrt(HIDDEN)
    return {"cell": cell.init(k_cell), "readout": readout, "skip": jnp.zeros(2)}


def predict(params: dict, z: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """The next number at every step ``[T]``: a correction of the last number."""
    _, hs = lj.unroll(cell, params["cell"], z[:, None], key=key)
    return hs @ params["readout"] + params["skip"][0] * z + params["skip"][1]


def train(z: jax.Array, key: jax.Array) -> dict:
    """Train all members, each with its own initial parameters and dropout."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.cosine_decay_schedule(1e-2, UPDATES), weight_decay=1e-2),
    )

    def loss(params, key):
        errors = predict(params, z[:-1], key) - z[1:]
        return jnp.mean(errors[12:] ** 2)  # the first cycle only sets the state

    def update(carry, key):
        params, moments = carry
        changes, moments = optimizer.update(jax.grad(loss)(params, key), moments, params)
        return (optax.apply_updates(params, changes), moments), None

    def member(key):
        k_init, k_train = jax.random.split(key)
        params = init(k_init)
        start = params, optimizer.init(params)
        return jax.lax.scan(update, start, jax.random.split(k_train, UPDATES))[0][0]

    return jax.jit(jax.vmap(member))(jax.random.split(key, MEMBERS))


def main() -> dict[str, tuple[float, float]]:
    """Train, and return the errors of every model to 1955 and to 2008."""
    numbers, trained = load()
    z = jnp.asarray(np.sqrt(numbers) / 5 - 1, jnp.float32)
    params = train(z[:trained], jax.random.key(0))
    ahead = np.asarray(jax.vmap(predict, (0, None))(params, z[:-1]).mean(0))[trained - 1 :]
    forecasts = {
        "last year's number": numbers[trained - 1 : -1],
        "autoregression": autoregression(numbers, trained),
        "LSTM": 25 * np.maximum(ahead + 1, 0) ** 2,
    }
    errors = {}
    for name, forecast in forecasts.items():
        squares = (forecast - numbers[trained:]) ** 2
        errors[name] = float(squares[:35].mean() ** 0.5), float(squares.mean() ** 0.5)
        print(f"{name:18}  to 1955: {errors[name][0]:4.1f}  to 2008: {errors[name][1]:4.1f}")
    return errors


if __name__ == "__main__":
    main()
