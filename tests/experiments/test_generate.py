"""Text that a character model generates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.generate import generate
from experiments.model import make_model
from experiments.tasks import Chars
from experiments.tasks.chars_figures import page_of_text
from experiments.tasks.corpus import ALPHABET, decode, encode
from tests.helpers.toys import slow_case

MODEL = make_model(model_config(hidden_size=8), Chars())
PARAMS = MODEL.init(jax.random.key(0))


def with_readout(kernel_scale, favourite=None):
    """Parameters with a scaled readout and a high bias for one character."""
    kernel, bias = PARAMS.readout
    bias = bias if favourite is None else bias.at[encode(favourite)[0]].set(100.0)
    return PARAMS._replace(readout=PARAMS.readout._replace(kernel=kernel * kernel_scale, bias=bias))


def test_text_starts_with_the_prompt_and_depends_on_the_key():
    texts = [generate(MODEL, PARAMS, jax.random.key(k), 50, prompt="abc") for k in (0, 0, 1)]
    assert all(text.startswith("abc") and len(text) == 53 for text in texts)
    assert texts[0] == texts[1] != texts[2]


def test_characters_are_drawn_from_the_readout():
    text = generate(MODEL, with_readout(0.0, favourite="q"), jax.random.key(0), 20, prompt="x")
    assert text == "x" + "q" * 20
    uniform = generate(MODEL, with_readout(0.0), jax.random.key(0), 3000, prompt="x")
    assert len(set(uniform) & set(ALPHABET)) > 90


def test_a_low_temperature_follows_the_most_likely_character_step_by_step():
    """Against a plain loop, which reads the last character of the prompt once."""
    params = with_readout(5.0)
    text = generate(MODEL, params, jax.random.key(0), 12, prompt="de", temperature=1e-6)
    state, written = MODEL.cell.initial_state(), "de"
    for i in range(13):
        x = MODEL.encode(jnp.asarray(encode(written)[i], jnp.int32))
        state = MODEL.cell.step(params.cell, state, x)
        if i >= 1:
            logits = np.asarray(MODEL.readout(params, state[0]))
            written += decode(np.array([logits.argmax()]))
    assert text == written


@pytest.mark.parametrize(
    "config",
    [
        model_config(layers=2, hidden_size=4, learned_initial_state=True, dropout=0.1),
        slow_case(model_config("gru", layers=2, hidden_size=4, residual=True, preset=None)),
        slow_case(model_config("slstm", hidden_size=4)),
    ],
    ids=["stack", "residual gru", "slstm"],
)
def test_any_model_that_goes_step_by_step_generates_what_it_answers_to_its_text(config):
    if config.layers[0].residual:
        bottom = dataclasses.replace(config.layers[0], residual=False)
        config = dataclasses.replace(config, layers=(bottom, config.layers[1]))
    model = make_model(config, Chars())
    params = model.init(jax.random.key(1))
    sharp = params.readout._replace(kernel=5 * params.readout.kernel)
    params = params._replace(readout=sharp)
    text = generate(model, params, jax.random.key(0), 12, prompt="de", temperature=1e-6)
    outputs = model.apply(params, jnp.asarray(encode(text[:-1]), jnp.int32))
    assert decode(np.asarray(outputs[1:].argmax(-1))) == text[2:]


def test_what_cannot_generate_is_an_error():
    model = make_model(model_config(hidden_size=4, bidirectional=True), Chars())
    with pytest.raises(ValueError, match=r"generate: model must go step by step; got Bidirec"):
        generate(model, PARAMS, jax.random.key(0), 3)
    with pytest.raises(ValueError, match="generate: prompt must have at least one character"):
        generate(MODEL, PARAMS, jax.random.key(0), 3, prompt="")


def test_a_page_of_text_grows_with_its_lines_and_truncates_long_text():
    short = page_of_text("title", "one\ntwo")
    tall = page_of_text("title", "\n".join("x" * 300 for _ in range(100)))
    assert short.get_figheight() < tall.get_figheight() < 8
    assert max(len(line) for line in tall.texts[1].get_text().splitlines()) == 96
