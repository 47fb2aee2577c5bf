"""The sweeps and searches of the repository, and those of its pages, are valid."""

import re
from pathlib import Path

import pytest

from experiments.search.spec import read_search
from experiments.sweep.points import expand
from experiments.sweep.spec import read_sweep

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
SEARCHES = sorted((ROOT / "configs" / "search").glob("*.yaml"))


def blocks(page):
    text = (ROOT / "docs" / "experiments" / page).read_text()
    return re.findall(r"```yaml\n(.*?)```", text, re.S)


@pytest.mark.parametrize("path", [*SWEEPS, *SEARCHES], ids=lambda path: path.stem)
def test_a_file_is_valid_and_its_header_says_what_to_expect(path):
    if path in SWEEPS:
        points, repeated = expand(read_sweep(path))
        assert len(points) > 1
        assert repeated == 0
    else:
        read_search(path)
    header = path.read_text().partition("\n\n")[0]
    assert f"configs/{path.parent.name}/{path.name}" in header
    assert re.search(r"Time: +\d", header)
    assert "Expected: " in header


def test_the_files_of_the_pages_are_valid(tmp_path):
    for config in ("demo", "adding"):
        (tmp_path / f"{config}.yaml").write_text((ROOT / f"configs/{config}.yaml").read_text())
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "it.yaml"
    counts = []
    for text in blocks("sweeps.md"):
        path.write_text(text)
        counts.append(len(expand(read_sweep(path))[0]))
    assert counts == [5, 2 * 2 * 20]
    (search,) = blocks("search.md")
    path.write_text(search)
    assert read_search(path).trials == 20
