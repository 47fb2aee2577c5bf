"""The equations in NumPy and float64, one gate at a time, without code of the library.

    f = sigmoid(W_f [h, x] + b_f)      and so for i, o;      g = tanh(W_g [h, x] + b_g)

Everything here also works on complex numbers, for a derivative without a step-size error:
``df/dv = Im f(theta + i * 1e-30 * v) / 1e-30``, since ``f`` is analytic and nothing cancels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TINY = 1e-30


class LSTMArguments(NamedTuple):
    """Arguments of an LSTM: ``(kernel, recurrent_kernel, bias)``, inputs, ``(h, c)``."""

    params: tuple[np.ndarray, np.ndarray, np.ndarray]
    xs: np.ndarray
    state: tuple[np.ndarray, np.ndarray]


def draw(n: int, h: int, batch: tuple[int, ...] = (), T: int = 1, seed: int = 0) -> LSTMArguments:
    """Random numbers for `n` inputs and `h` units, so that no term is hidden by a zero."""
    normal = np.random.default_rng(seed).standard_normal
    return LSTMArguments(
        params=(
            normal((n, 4 * h)) / np.sqrt(n),
            normal((h, 4 * h)) / np.sqrt(h),
            normal(4 * h),
        ),
        xs=normal((T, *batch, n)),
        state=(np.tanh(normal((*batch, h))), normal((*batch, h))),
    )


class Weights(NamedTuple):
    """A matrix ``[H, H + I]`` and a bias ``[H]`` for each gate."""

    W_f: np.ndarray
    W_i: np.ndarray
    W_g: np.ndarray
    W_o: np.ndarray
    b_f: np.ndarray
    b_i: np.ndarray
    b_g: np.ndarray
    b_o: np.ndarray


def weights_of(params: Any) -> Weights:
    """Split the library's parameters into gates by hand: i first, then f, g, o."""
    kernel, recurrent, bias = (wide(leaf) for leaf in params)
    H = bias.shape[0] // 4
    i, f, g, o = (slice(k * H, (k + 1) * H) for k in range(4))

    def matrix(gate: slice) -> np.ndarray:
        return np.concatenate([recurrent[:, gate], kernel[:, gate]], axis=0).T

    return Weights(matrix(f), matrix(i), matrix(g), matrix(o), bias[f], bias[i], bias[g], bias[o])


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def step(w: Weights, h: np.ndarray, c: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One LSTM step."""
    hx = np.concatenate([h, x], axis=-1)
    f = sigmoid(hx @ w.W_f.T + w.b_f)
    i = sigmoid(hx @ w.W_i.T + w.b_i)
    g = np.tanh(hx @ w.W_g.T + w.b_g)
    o = sigmoid(hx @ w.W_o.T + w.b_o)
    c_new = f * c + i * g
    return o * np.tanh(c_new), c_new


def run(
    w: Weights, xs: np.ndarray, h: np.ndarray, c: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """A loop over time: the final ``(h, c)`` and every ``h``."""
    hs = []
    for x in xs:
        h, c = step(w, h, c, x)
        hs.append(h)
    return (h, c), np.stack(hs)


def reference_unroll(
    step_fn: Callable[..., Any], params: Any, xs: Any, state: Any
) -> tuple[Any, list[Any]]:
    """The reference for `unroll`: call the step once for each time, keep the states."""
    states = []
    for x in xs:
        state = step_fn(params, state, x)
        states.append(state)
    return state, states


def derivative(f: Callable[..., Any], at: tuple[Any, ...], along: tuple[Any, ...]) -> Any:
    """The directional derivative of ``f(*at)``, by the complex step."""
    moved = [wide(a) + 1j * TINY * wide(v) for a, v in zip(at, along, strict=True)]
    return np.imag(f(*moved)) / TINY


def gradient(f: Callable[..., Any], at: tuple[Any, ...]) -> list[np.ndarray]:
    """The gradient of a scalar ``f(*at)``, one coordinate after the other."""
    zeros = [np.zeros(np.shape(a)) for a in at]
    grads = [np.zeros(np.shape(a)) for a in at]
    for grad, direction in zip(grads, zeros, strict=True):
        for k in np.ndindex(grad.shape):
            direction[k] = 1.0
            grad[k] = derivative(f, at, tuple(zeros))
            direction[k] = 0.0
    return grads


def wide(array: Any) -> np.ndarray:
    """As float64; complex arrays unchanged."""
    array = np.asarray(array)
    return array if np.iscomplexobj(array) else array.astype(np.float64)


def relative_error(actual: Any, expected: Any) -> float:
    """``max |a - b| / max |b|``; infinite for arrays of different shapes."""
    actual, expected = wide(actual), wide(expected)
    if actual.shape != expected.shape:
        return np.inf
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))
