"""Rules that rename modules by the end of their path."""

import re

import pytest

from lstm_jax.convert.flax_rename import PathRules


def renamed(rules, *paths):
    made = PathRules("f", "rename", rules)
    return ["/".join(made.new_path(tuple(path.split("/")))) for path in paths]


@pytest.mark.parametrize(
    ("rules", "path", "new"),
    [
        ({}, "a/b", "a/b"),
        ({"b": "c"}, "a/b", "a/c"),
        ({"b": "c"}, "a/b/b", "a/c/c"),
        ({"a": "x", "b": "c"}, "a/b", "x/c"),
        ({"b": "c/d"}, "a/b", "a/c/d"),
        ({"a/b": "c"}, "a/b", "c"),
        ({"a/b": "c"}, "top/a/b", "top/c"),
        ({"a/b": "c"}, "b/a", "b/a"),
        ({"a/b": "c", "top": "t"}, "top/a/b/d", "t/c/d"),
        ({"b": ""}, "a/b/c", "a/c"),
        ({"a": "", "b": "c"}, "a/b", "c"),
        ({"Cell_0": "short", "Step/Cell_0": "long"}, "Step/Cell_0", "long"),
        ({"Step/Cell_0": "long", "Cell_0": "short"}, "Other/Cell_0", "Other/short"),
        ({"Cell_*": "first", "*_0": "second"}, "Cell_0", "first"),
        ({"Cell_*": "LSTM_*"}, "a/Cell_12", "a/LSTM_12"),
        ({"*/Cell_*": "*/LSTM_*"}, "a/Cell_1", "a/LSTM_1"),
        ({"*/Cell_0": "LSTM_0"}, "a/b/Cell_0", "a/LSTM_0"),
        ({"RNN_*/cell": "RNN_*"}, "RNN_3/cell", "RNN_3"),
        ({"a/**/b": "**/c"}, "top/a/x/y/b", "top/x/y/c"),
        ({"a/**/b": "d/**/c"}, "a/b", "d/c"),
        ({"**/b": "**/c"}, "x/y/b", "x/y/c"),
        ({"Cell.0": "x"}, "Cell_0", "Cell_0"),
        ({"**": "new/**"}, "a/b/c", "new/a/b/c"),
        ({"**": "new/**", "b": "", "a/b/c": "d"}, "top/a/b/c", "new/top/d"),
        ({"**": "new/**", "b": ""}, "a/b/c", "new/a/c"),
        ({"**/*": "new/**/*", "a": "x"}, "a/b/c", "new/x/b/c"),
        ({"**/b": "new/**/b"}, "a/b/c", "new/a/b/c"),
        ({"**/c": "new/**/c", "a/b/c": "a/d"}, "a/b/c", "a/d"),
    ],
)
def test_a_new_path(rules, path, new):
    assert renamed(rules, path) == [new]


def test_the_same_name_gets_two_new_names_at_two_places():
    rules = {"encoder/Cell_0": "encoder/LSTM_0", "decoder/Cell_0": "decoder/Step_0/LSTM_0"}
    assert renamed(rules, "encoder/Cell_0", "decoder/Cell_0", "Cell_0") == [
        "encoder/LSTM_0",
        "decoder/Step_0/LSTM_0",
        "Cell_0",
    ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["a"], "must be a mapping from paths to paths, which are strings; got ['a']"),
        ({"a": None}, "must be a mapping from paths to paths, which are strings; got {'a': None}"),
        ({"": "a"}, "a path must be names with single slashes between them; got ''"),
        ({"/a": "b"}, "a path must be names with single slashes between them; got '/a'"),
        ({"a": "b//c"}, "a path must be names with single slashes between them; got 'b//c'"),
        ({"a/": "b"}, "a path must be names with single slashes between them; got 'a/'"),
        ({"**/**/a": "b"}, "'**' must not follow another; got '**/**/a'"),
        ({"a**": "b"}, "'**' must be a level of its own; got 'a**'"),
        (
            {"a": "b_*"},
            "must have all wildcards of the old one, in their order, or none; got 'b_*'",
        ),
        ({"*/**": "**/*"}, "in their order, or none; got '**/*' for '*/**'"),
    ],
)
def test_invalid_rules_are_refused(rules, message):
    with pytest.raises((TypeError, ValueError), match=f"^f: rename:? .*{re.escape(message)}"):
        PathRules("f", "rename", rules)


def test_a_rule_without_a_module_names_the_nearest_and_what_was_found():
    rules = PathRules("f", "rename", {"encoder/LSTMCel_0": "a"})
    paths = [("encoder",), ("encoder", "LSTMCell_0")]
    for path in paths:
        rules.new_path(path)
    message = (
        "f: rename: no module is called 'encoder/LSTMCel_0'; did you mean 'encoder/LSTMCell_0'?"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}; found: 0, 1, 2 and 9 more$"):
        rules.check_used(paths, map(str, range(12)), most=3)


def test_a_rule_that_a_longer_one_always_precedes_is_no_mistake():
    rules = PathRules("f", "rename", {"b": "c", "a/b": "d"})
    rules.new_path(("a", "b"))
    rules.check_used([], [])
