"""Linear probes of the state of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.inspection.probe import probe, probe_accuracy
from experiments.model import make_model
from experiments.tasks import Copy


def test_a_probe_tells_what_is_in_the_features_and_guesses_the_rest():
    classes = jax.random.randint(jax.random.key(0), (2, 2000), 0, 4)
    noise = 0.1 * jax.random.normal(jax.random.key(1), (2000, 4))
    features = 5 + 3 * (jax.nn.one_hot(classes[0], 4) + noise)
    told, untold = jax.jit(probe, static_argnums=2)(features, classes, 4)
    assert float(told) == 1
    assert float(untold) == pytest.approx(1 / 4, abs=0.06)


def test_memories_hold_a_symbol_from_the_step_at_which_it_is_read():
    """A forget gate that stays open keeps it, one that is shut forgets it at the next step."""
    task, count = Copy(delay=3, symbols=2, alphabet=3), 200
    symbol = jax.random.randint(jax.random.key(0), (1, count), 0, 3)
    inputs = jnp.full((6, count), task.blank).at[1:2].set(symbol)
    model = make_model(model_config(hidden_size=12), task)
    params = model.init(jax.random.key(1))
    accuracies = []
    for forget in (8.0, -8.0):
        cell = params.cell._replace(
            bias=params.cell.bias.at[12:24].set(forget),
            recurrent_kernel=jnp.zeros_like(params.cell.recurrent_kernel),
        )
        changed = params._replace(cell=cell)
        found = probe_accuracy(model, changed, inputs, symbol, [0, 1, 2, 5])
        accuracies.append(np.asarray(found)[0])
    kept, forgotten = accuracies
    assert kept.shape == (4,)
    assert kept[0] < 0.5
    assert kept[1] == 1
    assert kept[3] == 1
    assert forgotten[1] == 1
    assert forgotten[3] < 0.5


def test_the_sequences_have_two_halves():
    model = make_model(model_config(hidden_size=4), Copy(delay=3))
    inputs = np.zeros((5, 151), int)
    with pytest.raises(ValueError, match="an even number of sequences; got 151"):
        probe_accuracy(model, None, inputs, inputs[:1], [0])  # type: ignore[arg-type]
