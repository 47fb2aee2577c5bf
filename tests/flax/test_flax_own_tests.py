"""Flax's own recurrent tests, run with the cells of this library in place of those of Flax.

The files are not part of the package: give a checkout of Flax as ``FLAX_TESTS=/path/to/flax``.
"""

import importlib.util
import os
import types
import unittest
from pathlib import Path

import jax
import pytest
from flax import linen, nnx

import lstm_jax.linen
import lstm_jax.nnx

CHECKOUT = os.environ.get("FLAX_TESTS")
CELLS = ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell", "ConvLSTMCell")
PADDING = "reads what Flax's loop computes at padding; `RNN` returns zeros there"
ROUNDING = "has no absolute tolerance: the native backend differs by one rounding, 6e-8"
TREE = "reads the names of Flax's parameters; here a cell has kernel, recurrent_kernel and bias"
LINEN, NNX = "tests/linen/linen_recurrent_test.py", "tests/nnx/nn/recurrent_test.py"
DIFFERENCES = {
    LINEN: {
        "RNNTest.test_rnn_basic_forward": TREE,
        "RNNTest.test_rnn_multiple_batch_dims": TREE,
        "RNNTest.test_rnn_unroll": TREE,
        "RNNTest.test_rnn_time_major": TREE,
        "RNNTest.test_rnn_with_spatial_dimensions": TREE,
    },
    NNX: {
        "TestLSTMCell.test_lstm_equivalence_with_flax_linen": TREE,
        "TestRNN.test_rnn_equivalence_with_flax_linen": TREE,
    },
}
WITH_RNN = {
    LINEN: {
        "RNNTest.test_numerical_equivalence_with_mask": PADDING,
        "RNNTest.test_numerical_equivalence": ROUNDING,
        "RNNTest.test_numerical_equivalence_single_batch": ROUNDING,
        "RNNTest.test_reverse": ROUNDING,
        "RNNTest.test_reverse_but_keep_order": ROUNDING,
    },
    NNX: {},
}
SUITES = [
    *((path, CELLS, DIFFERENCES[path]) for path in DIFFERENCES),
    *((path, (*CELLS, "RNN"), DIFFERENCES[path] | WITH_RNN[path]) for path in DIFFERENCES),
]


def substituted(theirs, ours, substitutes):
    """Flax's namespace with our cells in it."""
    names = types.ModuleType(theirs.__name__)
    names.__dict__.update(vars(theirs))
    names.__dict__.update({name: vars(ours)[name] for name in substitutes if name in vars(ours)})
    return names


def with_our_names(path, substitutes):
    """The test module of a file, which sees our classes under Flax's names."""
    spec = importlib.util.spec_from_file_location("flax_own_tests", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pairs = [(linen, lstm_jax.linen), (nnx, lstm_jax.nnx)]
    own = {id(theirs): substituted(theirs, ours, substitutes) for theirs, ours in pairs}
    for name, value in vars(module).copy().items():
        if id(value) in own:
            setattr(module, name, own[id(value)])
    return module


@pytest.mark.peers
@pytest.mark.parametrize(
    ("path", "substitutes", "differences"),
    SUITES,
    ids=["linen cells", "nnx cells", "linen RNN", "nnx RNN"],
)
def test_flax_passes_its_own_tests_with_our_names(path, substitutes, differences, capsys):
    if CHECKOUT is None:
        pytest.skip("set FLAX_TESTS to a checkout of Flax, whose tests are not in the package")
    module = with_our_names(Path(CHECKOUT) / path, substitutes)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TestResult()
    with jax.numpy_dtype_promotion("standard"):  # as Flax tests itself
        suite.run(result)
    failed = {
        test.id().split(".", 1)[1]: trace.strip().splitlines()[-1]
        for test, trace in (*result.failures, *result.errors)
    }
    passed = f"{result.testsRun - len(failed)} of {result.testsRun} pass"
    with capsys.disabled():
        print(f"\n{path} with {', '.join(substitutes)}: {passed}")
        for name, error in failed.items():
            print(f"  {name}: {differences.get(name, error)}")
    rounding = {name for name, reason in differences.items() if reason is ROUNDING}
    assert failed.keys() | rounding == differences.keys(), failed
