"""Golden vectors: our layer with the weights of each library gives the same outputs."""

import pytest

from tests.helpers.conversions import EXACT, LIBRARIES, cases, max_error, to_cell, vector

EVERY = [(library, case) for library in LIBRARIES for case in cases(library)]


@pytest.mark.parametrize(("library", "case"), EVERY)
def test_our_layer_gives_their_outputs_in_float32(library, case):
    theirs = vector(library, case)
    assert max_error(*to_cell(library, case, theirs.weights), theirs) < EXACT["float32"]


@pytest.mark.parametrize(("library", "case"), EVERY)
def test_our_layer_gives_their_outputs_in_float64(library, case, x64):
    theirs = vector(library, case, "float64")
    assert max_error(*to_cell(library, case, theirs.weights), theirs) < EXACT["float64"]
