"""The embedded Reber grammar against production rules and a regular expression of its own."""

import collections
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks import reber_grammar
from experiments.tasks.reber_grammar import (
    EMBEDDED,
    END,
    POSSIBLE,
    SYMBOLS,
    activations,
    as_text,
    draw_streams,
    draw_strings,
    ends_within,
    possible_highest,
    with_second,
)

MANY = 20_000
LONGEST = 14
RULES = {"r": ("BTaE", "BPbE"), "a": ("Sa", "Xc"), "b": ("Tb", "Vd"), "c": ("Xb", "S"),
         "d": ("Pc", "V"), "s": ("BTrTE", "BPrPE")}  # fmt: skip
"""Each small letter becomes one of two texts with equal probability."""
LOOP = "(?:XT*VP)*(?:S|XT*VV)"
INNER = f"B(?:TS*X{LOOP}|PT*V(?:V|P{LOOP}))E"
STRING = re.compile(f"B(?:T{INNER}T|P{INNER}P)E")


@functools.cache
def by_the_rules(longest):
    """The probabilities of all strings of at most as many symbols."""
    found, open_ones = {}, {"s": 1.0}
    while open_ones:
        text, probability = open_ones.popitem()
        small = re.search("[a-z]", text)
        if small is None:
            found[text] = found.get(text, 0) + probability
        elif len(text) <= longest:
            for new in RULES[small[0]]:
                open_ones[text.replace(small[0], new, 1)] = probability / 2
    return {text: probability for text, probability in found.items() if len(text) <= longest}


@functools.cache
def drawn(longest=LONGEST, count=MANY):
    walk, counts = jax.jit(draw_strings, static_argnums=(1, 2))(jax.random.key(0), longest, count)
    return jax.tree.map(np.asarray, walk), np.asarray(counts)


def texts(walk, counts):
    return [as_text(symbols[:n]) for symbols, n in zip(walk.symbols.T, counts, strict=True)]


def test_the_rules_and_the_expression_are_of_one_language():
    assert all(map(STRING.fullmatch, by_the_rules(16)))
    assert STRING.fullmatch("BPBPVVETE") is None


def test_strings_are_drawn_with_the_probabilities_of_the_rules():
    expected = by_the_rules(LONGEST)
    total = sum(expected.values())
    seen = collections.Counter(texts(*drawn()))
    assert seen.keys() <= expected.keys()
    likely = [text for text, p in expected.items() if p / total > 0.002]
    assert len(likely) > 50
    for text in likely:
        p = expected[text] / total
        assert seen[text] / MANY == pytest.approx(p, abs=5 * (p / MANY) ** 0.5), text


def test_a_walk_ends_within_a_number_of_symbols_as_by_the_rules():
    ends = ends_within(16)
    for symbols in (8, 9, 12, 16):
        assert ends[symbols, 0] == pytest.approx(sum(by_the_rules(symbols).values()))
    assert ends_within(400)[400, 0] == 1
    # Twelve symbols on average, and the default of the task loses one string in many millions.
    by_length = np.diff(ends_within(400)[:, 0])
    assert by_length @ np.arange(1, 401) == pytest.approx(12)
    assert 1 / 2.2e7 < 1 - ends_within(61)[61, 0] < 1 / 1e7


def test_the_shortest_strings_are_four_of_equal_probability():
    seen = collections.Counter(texts(*drawn(9, 4000)))
    assert seen.keys() == {"BTBTXSETE", "BTBPVVETE", "BPBTXSEPE", "BPBPVVEPE"}
    assert all(0.22 < count / 4000 < 0.28 for count in seen.values())
    with pytest.raises(ValueError, match=r"^draw_strings: longest must be at least 9; got 8"):
        draw_strings(jax.random.key(0), 8, 1)


def test_what_is_possible_next_is_what_some_string_continues_with():
    after = collections.defaultdict(set)
    for text in by_the_rules(LONGEST + 8):
        for n in range(min(len(text), LONGEST)):
            after[text[:n]].add(text[n])
    walk, counts = drawn(LONGEST, 2000)
    for text, nodes in zip(texts(walk, counts), walk.nodes.T, strict=True):
        for n in range(len(text)):
            possible = {SYMBOLS[k] for k in np.flatnonzero(POSSIBLE[nodes[n]])}
            assert possible == after[text[:n]], text[:n]


def test_after_its_end_a_string_is_padded_with_its_last_symbol():
    walk, counts = drawn()
    after = np.arange(LONGEST)[:, None] >= counts
    assert (walk.nodes[after] == END).all()
    assert (walk.nodes[~after] != END).all()
    assert (walk.symbols[after] == SYMBOLS.index("E")).all()


def test_every_node_is_reached_and_has_one_or_two_edges():
    assert sorted(EMBEDDED) == [*range(END + 1)]
    assert {len(edges) for edges in EMBEDDED.values()} == {1, 2}
    assert set(drawn()[0].nodes.ravel().tolist()) == set(EMBEDDED)


def test_a_stream_is_strings_one_after_the_other():
    walk = jax.tree.map(np.asarray, draw_streams(jax.random.key(0), 400, 200))
    second = []
    for symbols, nodes in zip(walk.symbols.T, walk.nodes.T, strict=True):
        text, at = as_text(symbols), []
        while match := STRING.match(text, sum(map(len, at))):
            at.append(match[0])
        # What is left at the end of the stream is the beginning of a string.
        assert len(at) > 10
        assert STRING.match(text[sum(map(len, at)) :]) is None
        starts = np.cumsum([0, *map(len, at)])
        np.testing.assert_array_equal(np.flatnonzero(nodes == 0), starts[starts < 400])
        second.append([string[1] == "T" for string in at[:2]])
    # Strings are independent of each other.
    both = collections.Counter(map(tuple, second))
    assert all(0.15 < both[pair] / 200 < 0.35 for pair in both)
    assert len(both) == 4


def test_a_string_with_another_second_symbol_is_the_same_inside():
    walk, counts = drawn(LONGEST, 500)
    for symbol in "TP":
        changed = jax.tree.map(np.asarray, with_second(walk, symbol))
        for old, new in zip(texts(walk, counts), texts(changed, counts), strict=True):
            assert new == f"B{symbol}{old[2:-2]}{symbol}E"
        own = walk.symbols[1] == SYMBOLS.index(symbol)
        np.testing.assert_array_equal(changed.nodes[:, own], walk.nodes[:, own])


def test_a_step_is_right_if_all_possible_symbols_are_above_all_others():
    possible = np.array([[True, True, False]])
    outputs = [[3, 2, 1], [2, 3, 1], [3, 1, 2], [3, 1, 1], [1, 2, 3]]
    right = possible_highest(jnp.array(outputs, jnp.float32), jnp.array(possible))
    assert right.tolist() == [True, True, False, False, False]


def test_the_criterion_is_the_same_for_outputs_and_their_activations():
    @jax.jit
    def right(key):
        outputs = jax.random.normal(key, (500, 7))
        possible = jnp.asarray(POSSIBLE)[jnp.arange(500) % len(POSSIBLE)]
        each = outputs, activations(outputs, "softmax"), activations(outputs, "sigmoid")
        return [possible_highest(values, possible) for values in each]

    of_outputs, of_softmax, of_sigmoid = right(jax.random.key(0))
    np.testing.assert_array_equal(of_softmax, of_outputs)
    np.testing.assert_array_equal(of_sigmoid, of_outputs)
    assert 10 < of_outputs.sum() < 250


def test_losses_are_those_of_their_equations():
    outputs = np.random.default_rng(0).normal(size=(3, 2, 7)).astype(np.float32)
    symbols = np.array([[0, 1], [2, 3], [6, 5]])
    following = reber_grammar.Next(jnp.asarray(symbols), jnp.zeros((3, 2, 7), bool))
    chance = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    expected = -np.log(np.take_along_axis(chance, symbols[..., None], axis=-1)[..., 0])
    found = jax.jit(reber_grammar.losses)(jnp.asarray(outputs), following, None)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    targets = np.eye(7)[symbols]
    expected = np.square(1 / (1 + np.exp(-outputs)) - targets).sum(axis=-1)
    found = jax.jit(reber_grammar.losses)(
        jnp.asarray(outputs), following, jnp.asarray(targets, bool)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
