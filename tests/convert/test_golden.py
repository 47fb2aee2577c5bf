"""Golden vectors: our layer with the weights of each library gives the same outputs."""

import pytest

from tests.helpers.conversions import EXACT, LIBRARIES, arrays, cases, max_error, to_cell, vector

EVERY = [(library, case) for library in LIBRARIES for case in cases(library)]


@pytest.mark.parametrize(("library", "case"), EVERY)
def test_our_layer_gives_their_outputs_in_float32(library, case):
    theirs = vector(library, case)
    assert max_error(*to_cell(library, case, theirs.weights), theirs) < EXACT["float32"]


IN_FLOAT64 = [
    (library, case) for library, case in EVERY if f"{case}/float64/outputs" in arrays(library)
]


@pytest.mark.parametrize(("library", "case"), IN_FLOAT64)
def test_our_layer_gives_their_outputs_in_float64(library, case, x64):
    theirs = vector(library, case, "float64")
    assert max_error(*to_cell(library, case, theirs.weights), theirs) < EXACT["float64"]
