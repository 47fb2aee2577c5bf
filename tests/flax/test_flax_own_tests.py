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
TREE = "reads the names of Flax's parameters; here a cell has kernel, recurrent_kernel and bias"
SUITES = {
    "tests/linen/linen_recurrent_test.py": {
        "RNNTest.test_rnn_basic_forward": TREE,
        "RNNTest.test_rnn_multiple_batch_dims": TREE,
        "RNNTest.test_rnn_unroll": TREE,
        "RNNTest.test_rnn_time_major": TREE,
        "RNNTest.test_rnn_with_spatial_dimensions": TREE,
    },
    "tests/nnx/nn/recurrent_test.py": {
        "TestLSTMCell.test_lstm_equivalence_with_flax_linen": TREE,
        "TestRNN.test_rnn_equivalence_with_flax_linen": TREE,
    },
}


def substituted(theirs, ours):
    """Flax's namespace with our cells in it."""
    names = types.ModuleType(theirs.__name__)
    names.__dict__.update(vars(theirs))
    names.__dict__.update({name: vars(ours)[name] for name in CELLS if name in vars(ours)})
    return names


def with_our_cells(path):
    """The test module of a file, which sees our cells under Flax's names."""
    spec = importlib.util.spec_from_file_location("flax_own_tests", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = {id(linen): substituted(linen, lstm_jax.linen), id(nnx): substituted(nnx, lstm_jax.nnx)}
    for name, value in vars(module).copy().items():
        if id(value) in own:
            setattr(module, name, own[id(value)])
    return module


@pytest.mark.peers
@pytest.mark.parametrize(("path", "differences"), SUITES.items(), ids=["linen", "nnx"])
def test_flax_passes_its_own_tests_with_our_cells(path, differences, capsys):
    if CHECKOUT is None:
        pytest.skip("set FLAX_TESTS to a checkout of Flax, whose tests are not in the package")
    suite = unittest.defaultTestLoader.loadTestsFromModule(with_our_cells(Path(CHECKOUT) / path))
    result = unittest.TestResult()
    with jax.numpy_dtype_promotion("standard"):  # as Flax tests itself
        suite.run(result)
    failed = {
        test.id().split(".", 1)[1]: trace.strip().splitlines()[-1]
        for test, trace in (*result.failures, *result.errors)
    }
    with capsys.disabled():
        print(f"\n{path}: {result.testsRun - len(failed)} of {result.testsRun} pass")
        for name, error in failed.items():
            print(f"  {name}: {differences.get(name, error)}")
    assert failed.keys() == differences.keys(), failed
