"""The pages of the documentation do what they say."""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.backends import ffi
from tests.helpers.toys import may_fall_back, slow_case

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("experiments/*.md")])


# Their code reads runs: tests/docs/test_experiments_pages.py makes them first.
BESIDE_RUNS = {
    DOCS / "experiments" / name for name in ("README.md", "notebooks.md", "memory_figures.md")
}
LONG = {"your_own_cell", "your_own_transform"}  # they call `check_cell`


@pytest.mark.parametrize(
    "page",
    [slow_case(page) if page.stem in LONG else page for page in PAGES if page not in BESIDE_RUNS],
    ids=lambda page: page.stem,
)
def test_python_blocks_run_one_after_the_other(page):
    names = {"__name__": page.stem}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_links_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for file in re.findall(r"`((?:lstm_jax|experiments|tests)/[\w/]+\.py)`", text):
        assert (DOCS.parent / file).exists(), file


FEATURES = (DOCS / "features.md").read_text()
ROWS = re.findall(r"^\| ([^|]+?) \| `([^|]+?)` \|(.*)\|$", FEATURES, re.M)


@pytest.fixture(scope="module")
def prelude():
    names = {}
    exec(re.search(r"```python\n(.*?)```", FEATURES, re.S)[1], names)
    return names


@may_fall_back
@pytest.mark.parametrize(("feature", "code"), [row[:2] for row in ROWS], ids=lambda part: part)
def test_a_features_line_of_code_runs(feature, code, prelude):
    exec(code, dict(prelude))


def test_every_public_name_is_among_the_features():
    code = " ".join(row[1] for row in ROWS) + FEATURES
    types = re.compile(
        r"(Params|State|Gates)$|^(Cell|Trace|Explanation|Directions|StepRng|Transform|StateTransform)$"
    )
    named = {name for name in lj.__all__ if not types.search(name)}
    single = {"lstm_init", "lstm_step", "lstm_gates"}  # the LSTM as plain functions: the README
    assert {name for name in named - single if f"lj.{name}" not in code} == set()


def temporaries(T, remat, implementation):
    """MiB that the gradient of the page's loss takes besides its inputs and results."""
    cell = lj.LSTM(256, 256)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((T, 32, 256), jnp.float32)

    def loss(params, xs):
        return lj.unroll(cell, params, xs, remat=remat, implementation=implementation)[0].h.sum()

    compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the table was measured on a CPU")
@pytest.mark.parametrize("implementation", ["scan", "cpu"])
@may_fall_back
def test_the_memory_of_a_gradient_is_as_in_the_table(implementation):
    if implementation == "cpu" and ffi.load():
        pytest.skip(ffi.load())
    rows = re.findall(
        r"^\| (\d+) \| (\S+) \| ([\d.]+) \| ([\d.]+) \|$", (DOCS / "memory.md").read_text(), re.M
    )
    assert len(rows) == 10
    for T, remat, *mib in rows:
        measured = temporaries(int(T), ast.literal_eval(remat), implementation)
        wanted = float(mib[implementation == "cpu"])
        assert measured == pytest.approx(wanted, rel=0.2), (T, remat)
