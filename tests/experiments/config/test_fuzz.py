"""Mutated configs and flags: a config or one short clean message, soon, and nothing executed."""

import builtins
import os
import random
import re
import subprocess
import time
from pathlib import Path

import pytest

from experiments.commands.overrides import parse_overrides
from experiments.config.file import load_config
from experiments.config.schema import Config
from experiments.errors import UserError

ROOT = Path(__file__).parents[3]

FULL = """\
task: {name: copy, delay: 20}
model:
  dropout: 0.2
  hidden_size: 8
  layers:
    - {cell: lstm, zoneout: {h: 0.05, c: 0.5}, bidirectional: true, merge: sum, preset: torch}
    - {cell: gru, hidden_size: 16, recurrent_dropout: 0.1, clip: {h: 5.0}}
    - {cell: slstm, num_heads: 4, dtype: {param: float32, compute: bfloat16}, init_scale: 0.5}
    - {cell: projected_lstm, projection_size: 4, kernel_init: Uniform(0.1), activation: relu}
optimizer: {name: sgd, momentum: 0.9, nesterov: true, schedule: linear, average: 0.99}
train: {updates: 100, accumulate: 2}
eval: {sequences: 20, batch_size: 10}
seed: 3
"""
IMPORTED = """\
task: {name: adding}
optimizer: {name: "optax:adabelief", b1: 0.8}
model: {cell: refined_lstm, chrono_t_max: 50, learned_initial_state: true, skip: true}
"""
TEXTS = [path.read_text() for path in sorted((ROOT / "configs").glob("*.yaml"))] + [FULL, IMPORTED]

VALUES = [
    *(
        "",
        "~",
        "null",
        "none",
        "true",
        "no",
        "-1",
        "0",
        "1",
        "2",
        "3.5",
        "1e-60",
        "1e39",
        "1e22",
        "-0.0",
    ),
    *(".inf", "-.inf", ".nan", "1_000", "0x10", "1e5", "9" * 18, "9" * 5000, "1" * 400 + ".5"),
    *("!!int x", '!!int ""', "!!float x", "!!bool maybe", "!!python/object:os.system [x]"),
    *('!!python/object/apply:os.system ["touch pwned"]', "!!binary aGk=", "2001-01-01", "12:30"),
    *(
        "[]",
        "{}",
        "[1, 2]",
        "{a: 1}",
        "[[[[[]]]]]",
        "{a: {b: {c: {d: 1}}}}",
        "[" * 2000,
        "{a: " * 50,
    ),
    *(
        "*a",
        "&a 1",
        "'",
        '"',
        "'a'",
        '"\\u0000"',
        '"\\e[31mred"',
        '"a\\nb"',
        "x" * 10_000,
        "é\u202e",
    ),
    *(
        "os:system",
        "subprocess:Popen(['touch', 'pwned'])",
        "os:system('touch pwned')",
        "builtins:exec",
    ),
    *(
        "builtins:print('pwned')",
        "jax.numpy:save('pwned', 1)",
        "save('pwned', 1)",
        "a.b:C",
        ":",
        "a:",
    ),
    *(
        "Uniform(0.1)",
        "Uniform(",
        "Uniform(1, 2, 3, 4)",
        "normal('x')",
        "ForgetBias(1e999)",
        "Chrono(1)",
    ),
    *(
        "lambda: 0",
        "(1).__class__",
        "Uniform(__import__('os').system('touch pwned'))",
        "zeros",
        "preset",
    ),
    *(
        "lstm",
        "conv_lstm",
        "adam",
        "chars",
        "float64",
        "bfloat16",
        "cudnn",
        "chrono",
        "- 1",
        "? a",
        "| x",
    ),
]
KEYS = [
    *("cell", "name", "layers", "hidden_size", "dtype", "zoneout", "clip", "preset", "seed", "h"),
    *("learning_rate", "x" * 5000, "0", "-1", "1.5", "true", "", "model", "task", "optimizer"),
    *("bidirectional", "kernel_init", "remat", "é", "'a b'", "num_heads", "updates", "a.b"),
]
CHARACTERS = [
    *"[]{}:,-?!&*#|>'\"%@`\\ \t\n\r\0\x1b\x85",
    "\ufeff",
    "\u2028",
    "é",
    "\U0001f600",
    "0",
    "a",
]


def mutated(text, draw):
    """The text with one to three changes of bytes, tokens, values or lines."""
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        lines = text.splitlines(keepends=True) or [""]
        i = draw.randrange(len(lines))
        match draw.randrange(9):
            case 0:
                at = draw.randrange(len(text) + 1)
                text = text[:at] + draw.choice(CHARACTERS) * draw.choice([1, 1, 30]) + text[at:]
            case 1:
                at = draw.randrange(len(text) + 1)
                text = text[:at] + text[at + draw.randint(1, 10) :]
            case 2 | 3 | 4:
                spans = [m.span() for m in re.finditer(r"(?<=: )[^\n,{}\[\]]+", text)] or [(0, 0)]
                start, end = draw.choice(spans)
                text = text[:start] + draw.choice(VALUES) + text[end:]
            case 5:
                spans = [m.span() for m in re.finditer(r"\w+(?=:)", text)] or [(0, 0)]
                start, end = draw.choice(spans)
                text = text[:start] + draw.choice(KEYS) + text[end:]
            case 6:
                lines[i] = lines[i] * draw.choice([0, 2, 40])
                text = "".join(lines)
            case 7:
                lines[i] = draw.choice(["", " ", "  ", "\t", "    "]) + lines[i].lstrip()
                text = "".join(lines)
            case 8:
                lines.insert(i, f"{draw.choice(KEYS)}: {draw.choice(VALUES)}\n")
                text = "".join(lines)
    return text


def flags(draw):
    sections = [
        "model",
        "task",
        "optimizer",
        "train",
        "eval",
        "model.layers.0",
        "model.layers.9",
        "x",
    ]
    names = [draw.choice(KEYS), f"{draw.choice(sections)}.{draw.choice(KEYS)}",
             f"{draw.choice(sections)}.{draw.choice(KEYS)}.{draw.choice(KEYS)}"]  # fmt: skip
    return [f"--{draw.choice(names)}={draw.choice(VALUES)}"]


def check(tmp_path, draw):
    """One mutated file, and sometimes flags, as the command line reads them."""
    path, text = tmp_path / "a.yaml", mutated(draw.choice(TEXTS), draw)
    data = text.encode(errors="surrogatepass")
    if draw.random() < 0.05:
        at = draw.randrange(len(data) + 1)
        data = data[:at] + draw.randbytes(3) + data[at:]
    path.write_bytes(data)
    words = flags(draw) if draw.random() < 0.3 else []
    began, made = time.process_time(), False
    try:
        config = load_config(path, parse_overrides(words))
    except UserError as error:
        message = str(error)
        lines = message.replace(str(path), "a.yaml").splitlines()
        assert 1 <= len(lines) <= 21, (text, words, message)
        for line in lines:
            assert len(line) < 200, (text, words, line)
            assert line.isprintable(), (text, words, line)
        assert "Traceback" not in message
    else:
        made = isinstance(config, Config)
    return time.process_time() - began, made


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A folder of its own, in which no function that a config names is called."""
    called = []

    def note(*args, **kwargs):
        called.append(args)

    for name in ("system", "popen", "execv"):
        monkeypatch.setattr(os, name, note)
    monkeypatch.setattr(builtins, "print", note)
    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert called == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml"]


def fuzz(folder, seeds):
    """Seconds of each mutant; about one in ten is still a config."""
    seconds, configs = zip(*(check(folder, random.Random(seed)) for seed in seeds), strict=True)
    assert 0.02 < sum(configs) / len(configs) < 0.5
    return seconds


def test_hundreds_of_mutated_configs(guarded):
    fuzz(guarded, range(250))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_thousands_of_mutated_configs(guarded, part):
    seconds = fuzz(guarded, range(1000 * (part + 1), 1000 * (part + 2)))
    # Longer than a first use of a cell takes.
    assert max(seconds) < 2.0


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_without_mutations_there_is_a_config(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert load_config(tmp_path / "a.yaml")
