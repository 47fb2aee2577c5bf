"""The pages on experiments: their code runs, their files exist, their index is complete."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments.commands.pages import PAGES
from tests.helpers.saved_runs import save_run

FOLDER = Path(__file__).parents[2] / "docs" / "experiments"
INDEX = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("page", ["notebooks", "README", "memory_figures"])
def test_python_blocks_run_beside_a_run(page, tmp_path, monkeypatch, capsys):
    run = {"notebooks": "adding", "README": "lstm", "memory_figures": "one"}[page]
    save_run(tmp_path / "runs" / run)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page}
    for code in re.findall(r"```python\n(.*?)```", (FOLDER / f"{page}.md").read_text(), re.S):
        exec(compile(code, page, "exec"), names)
    plt.close("all")
    if page == "memory_figures":
        assert len(names["errors"]) == 2
        assert names["before"]["layer 1"].shape == names["after"]["layer 1"].shape == (3,)
        assert names["norms"].shape == (6,)
        return
    assert len(names["figure"].axes) > 6
    if page == "notebooks":
        assert names["metrics"]["mse"].shape == (2,)
        assert names["every_seed"].shape == (2, 6, 5, 1)
        assert capsys.readouterr().out.startswith("Run of adding, length 6, in runs/adding\n")


def test_every_attribute_in_the_table_is_one_of_a_run():
    from experiments import Run

    table = re.findall(r"^\| (`run\.[^|]*) \|", (FOLDER / "notebooks.md").read_text(), re.M)
    named = {name for row in table for name in re.findall(r"`run\.(\w+)", row)}
    assert len(named) > 10
    assert named <= {*dir(Run), *Run.__dataclass_fields__}


def test_the_index_names_every_page_folder_and_command():
    for page in FOLDER.glob("*.md"):
        assert page.stem == "README" or f"]({page.name})" in INDEX, page.name
    code = FOLDER.parents[1] / "experiments"
    for folder in code.iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/`" in INDEX, folder.name
    commands = re.findall(r"python -m experiments (\w+)", INDEX)
    assert set(commands) >= {"list", "train", "report", "evaluate"}
    assert set(commands) <= set(PAGES)


@pytest.mark.parametrize("page", ["notebooks", "profile", "memory_figures"])
def test_links_and_pictures_exist(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)", (FOLDER / f"{page}.md").read_text()):
        assert (FOLDER / link).exists(), link


def test_the_profile_page_shows_what_the_command_prints():
    text = (FOLDER / "profile.md").read_text()
    shown = re.search(r"```text\n(.*?)```", text, re.S)[1]
    assert max(map(len, shown.splitlines())) < 80
    lines = {"trace", "lower", "compile", "initialise", "warm up", "achieved", "operations"}
    assert lines <= {line.split("  ")[1].strip() for line in shown.splitlines() if line[:2] == "  "}
