"""The examples reach what they state, and stay short."""

import ast
import importlib
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import lstm_jax as lj
from tests.helpers.toys import slow_case

FOLDER = Path(__file__).parents[2] / "examples"
# The examples, and the number of lines below which each stays.
MODELS = {"characters": 100, "digits": 100, "sunspots": 100, "ppo_memory": 200}


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        for module in (*MODELS, "ngram"):
            sys.modules.pop(module, None)
        return importlib.import_module(name)

    with jax.numpy_dtype_promotion("standard"):  # as Optax and Flax's own layers need
        yield load


@pytest.mark.parametrize("name", MODELS)
def test_an_example_is_short_and_says_what_to_expect(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) < MODELS[name]
    page = ast.get_docstring(ast.parse(text))
    assert re.search(rf"^Command:  python examples/{name}\.py", page, re.M)
    assert re.search(r"^States: ", page, re.M)


@pytest.fixture
def small_ppo(example, monkeypatch):
    """The recurrent agents, with few environments and steps."""
    ppo = example("ppo_memory")
    for name, size in {"ENVS": 4, "STEPS": 24, "HIDDEN": 8, "EPOCHS": 1, "MINIBATCHES": 2}.items():
        monkeypatch.setattr(ppo, name, size)
    return ppo


def test_the_corridor_shows_its_symbol_once_and_rewards_it_at_the_door(small_ppo):
    ppo, jnp = small_ppo, small_ppo.jnp
    corridor = ppo.Corridor(jnp.int32(2), jnp.int32(0), jnp.int32(2))
    others = set()
    for position in range(3):
        for k in range(20):
            seen = ppo.observe(jax.random.key(k), corridor).tolist()
            assert seen[-2:] == [position == 0, position == 2]
            if position == 0:
                assert seen[:4] == [0, 0, 1, 0]
            others |= {seen.index(1)} if position == 1 else set()
        nexts = [ppo.move(jax.random.key(0), corridor, jnp.int32(action)) for action in range(4)]
        assert [float(reward) for _, reward, _ in nexts] == [0, 0, position == 2, 0]
        assert all(bool(done) == (position == 2) for *_, done in nexts)
        corridor = nexts[0][0]
    assert others == {0, 1, 2, 3}  # distractors tell nothing
    assert corridor.position == 0
    assert ppo.SHORTEST <= corridor.door + 1 <= ppo.LONGEST


@pytest.mark.parametrize("cell", ["gru", slow_case("lstm")])
def test_a_rollout_step_by_step_is_the_unrolled_pass_over_its_inputs(small_ppo, cell):
    ppo = small_ppo
    params = ppo.train(cell, 1, jax.random.key(0))
    carry, rollout = ppo.evaluate(cell, params, jax.random.key(1), steps=50)
    assert rollout.done.sum(0).min() >= 2  # resets inside of the sequence, in every row
    assert len({tuple(row) for row in rollout.done.T.tolist()}) == ppo.ENVS
    reset = lj.resets_from_dones(rollout.done, first=True)
    _, logits, value = ppo.Agent(cell).apply(params, carry, rollout.inputs, reset)
    log_prob = ppo.log_prob_of(logits, rollout.action)
    np.testing.assert_allclose(value, rollout.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_prob, rollout.log_prob, rtol=1e-5, atol=1e-6)
    _, unlike, _ = ppo.Agent(cell).apply(params, carry, rollout.inputs, reset & False)
    assert abs(unlike - logits).max() > 1e-3


def test_advantages_stop_where_an_episode_ends(small_ppo):
    ppo, (T, B) = small_ppo, (6, small_ppo.ENVS)
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, T, B)).astype(np.float32)
    last_value, done = rng.normal(size=B).astype(np.float32), rng.random((T, B)) < 0.3
    rollout = ppo.Rollout(None, None, None, value, reward, done)
    got = ppo.advantages(rollout, last_value)
    for b in range(B):
        for t in range(T):
            wanted, weight = 0.0, 1.0
            for k in range(t, T):
                v_next = last_value[b] if k == T - 1 else value[k + 1, b]
                wanted += weight * (
                    reward[k, b] + ppo.GAMMA * (1 - done[k, b]) * v_next - value[k, b]
                )
                weight *= ppo.GAMMA * ppo.LAMBDA * (1 - done[k, b])
            assert float(got[t, b]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_ppo_prints_one_line_for_each_agent(small_ppo, capsys):
    right = small_ppo.main(("none",), updates=1)
    assert [*right] == ["random", "none"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["random", "none"]
    assert f"{right['random']:6.1%} right" in lines[0]


def test_ngrams_find_what_repeats(example):
    bits = example("ngram").ngram_bits
    text = example("characters").np.array([*b"abc" * 200])
    assert bits(text[:300], text[300:], 3) < 0.1
    assert bits(text[:300], text[300:], 1) == pytest.approx(1.585, abs=0.05)  # one of three
    assert bits(text[:300], text[300:] + 10, 3) > 6  # nothing seen before: one of 128


@pytest.mark.slow
def test_digits(example):
    right = example("digits").main()
    assert right["LSTM"] > 0.972
    assert right["LSTM"] > right["logistic regression"] + 0.005
    assert right["logistic regression"] > 0.955


@pytest.mark.slow
def test_characters(example):
    bits = example("characters").main()
    best = min(value for name, value in bits.items() if name != "LSTM")
    assert bits["LSTM"] < 2.0
    assert bits["LSTM"] < best - 0.14
    assert best < 2.25


@pytest.mark.slow
def test_ppo_memory(example):
    right = example("ppo_memory").main()
    assert min(right["gru"], right["lstm"]) > 0.98
    assert max(right["none"], right["random"]) < 0.28  # one of four


@pytest.mark.slow
def test_sunspots(example):
    errors = example("sunspots").main()
    assert errors["LSTM"][0] < 12.6
    assert errors["LSTM"][0] < errors["autoregression"][0] - 0.8
    assert errors["LSTM"][1] < 1.03 * errors["autoregression"][1]
    assert errors["autoregression"][0] == pytest.approx(13.4, abs=0.1)
