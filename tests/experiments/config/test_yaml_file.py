"""YAML for configs: plain values only, soon, and a short message for all else."""

import time

import pytest
import yaml

from experiments.config.yaml_file import MOST_BYTES, parse, parse_value, read_yaml
from experiments.errors import UserError

BAD = {
    "int of text": ("a: !!int x", "tags are not supported"),
    "int of nothing": ('a: !!int ""', "tags are not supported"),
    "float of text": ("a: !!float x", "tags are not supported"),
    "bool of text": ("a: !!bool maybe", "tags are not supported"),
    "python": ("a: !!python/object/apply:os.system [true]", "tags are not supported"),
    "own tag": ("a: !x 3", "tags are not supported"),
    "many digits": ("a: " + "9" * 5000, "a number of more than 18 digits"),
    "brackets": ("[" * 2000, "nested more than 20 deep"),
    "braces": ("{a: " * 2000, "nested more than 20 deep"),
    "blocks": ("\n".join(f"{'  ' * i}k:" for i in range(100)), "nested more than 20 deep"),
    "dashes": ("- " * 5000, "nested more than 20 deep"),
    "keys": ("\n".join(f"k{i}: 1" for i in range(10_000)), "more than 5,000 values"),
    "entries": (f"[{'a,' * 45_000}]", "more than 5,000 values"),
    "a repeated key": ("x: 1\n" * 2, "the key 'x' is repeated"),
    "a long repeated key": (f"{'x' * 100}: 1\n" * 2, "the key 'xxxxxxxxxxxxxxxx"),
    "a number as key": ("1: 2", "a name must be text; got 1"),
    "a list as key": ("[1]: 2", "a name must be text; got [1]"),
    "an alias": ("a: &x 1\nb: *x", "aliases are not supported"),
    "a control character": ("a: \x01", "special characters are not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "but found another document"),
    "too many bytes": ("a: " + "x" * MOST_BYTES, "a config has at most 100,000 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_plain_yaml_is_a_short_message_at_once(tmp_path, case):
    text, expected = BAD[case]
    path = tmp_path / "a.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert time.process_time() - began < 0.5
    message = str(caught.value).replace(str(path), "a.yaml")
    assert expected in message
    assert len(message) < 200
    assert message.isprintable()


@pytest.mark.parametrize("case", [case for case in BAD if case not in ("keys", "a repeated key")])
def test_so_it_is_in_a_flag(case):
    text, _ = BAD[case]
    with pytest.raises(UserError) as caught:
        parse_value("model.cell", text)
    assert len(str(caught.value)) < 200
    assert str(caught.value).startswith("--model.cell: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("-1_000", -1000),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("2001-01-01", "2001-01-01"),
        ("true", True),
        ("~", None),
        ("999999999999999999", 999999999999999999),
        ("[1, {a: null}]", [1, {"a": None}]),
        (".5", 0.5),
        ("'3'", "3"),
    ],
)
def test_plain_values(text, value):
    assert parse(text) == value
    assert type(parse(text)) is type(value)


def test_errors_of_the_parser_are_yaml_errors():
    for text, _ in BAD.values():
        if len(text) < 10_000:
            with pytest.raises(yaml.YAMLError):
                parse(text)
