"""The corpus: the files, their split, and the classes of their characters."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.tasks import corpus


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def test_every_class_has_its_character():
    ids = np.arange(corpus.VOCABULARY_SIZE, dtype=np.uint8)
    text = corpus.decode(ids)
    assert len(set(text)) == corpus.VOCABULARY_SIZE == 98
    np.testing.assert_array_equal(corpus.encode(text), ids)
    assert text[:3] == "\n\t "
    assert text[-2:] == "~\N{REPLACEMENT CHARACTER}"


@settings(deadline=None)
@given(st.text(st.sampled_from(corpus.ALPHABET)))
def test_text_in_the_alphabet_round_trips(text):
    ids = corpus.encode(text)
    assert ids.dtype == np.uint8
    assert corpus.decode(ids) == text


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_class_for_every_character(text):
    ids = corpus.encode(text)
    assert len(ids) == len(text)
    known = [char in corpus.ALPHABET for char in text]
    np.testing.assert_array_equal(ids != corpus.OTHER, np.array(known, bool))


def test_only_the_librarys_own_source_is_read(tmp_path):
    kept = {"a.py": "a = 1\n", "pkg/__init__.py": "b\r\nc\n", "pkg/deep/é.py": "# é\n"}
    skipped = {
        "test/test_a.py": "x",
        "pkg/tests/a.py": "x",
        "idlelib/idle_test/a.py": "x",
        "site-packages/numpy/a.py": "x",
        "dist-packages/a.py": "x",
        "__pycache__/a.py": "x",
        "lib2to3/a.py": "x",
        "encodings/cp1252.py": "x",
        "pydoc_data/topics.py": "x",
        "_sysconfigdata__linux.py": "x",
        "config-3.11-x86_64-linux-gnu/python-config.py": "x",
        "latin.py": "é".encode("latin-1"),
        "empty.py": "",
        "lib.so": "x",
        "note.txt": "x",
    }
    write(tmp_path / "lib", {**kept, **skipped})
    write(tmp_path / "etc", {"sitecustomize.py": "x", "folder/a.py": "x"})
    (tmp_path / "lib" / "sitecustomize.py").symlink_to(tmp_path / "etc" / "sitecustomize.py")
    (tmp_path / "lib" / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "lib" / "folder").symlink_to(tmp_path / "etc" / "folder")
    (tmp_path / "lib" / "named_like.py").mkdir()
    assert corpus.read_sources(tmp_path / "lib") == {**kept, "pkg/__init__.py": "b\nc\n"}


def test_a_folder_above_the_library_may_have_any_name(tmp_path):
    root = write(tmp_path / "tests" / "site-packages", {"a.py": "a"})
    assert corpus.read_sources(root) == {"a.py": "a"}


@pytest.mark.parametrize("files", [{}, {"os.pyc": "x"}, {"test/a.py": "x"}, {"a.py": b"\xff"}])
def test_a_library_without_source_files_is_an_error(tmp_path, files):
    root = write(tmp_path, files)
    with pytest.raises(ValueError, match="found no Python source files in") as caught:
        corpus.load_corpus(root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="found no Python source files in"):
        corpus.load_corpus(tmp_path / "python311.zip")


@settings(deadline=None)
@given(st.lists(st.integers(100, 1000), min_size=60, max_size=80), st.integers(0, 9))
def test_every_file_is_in_one_split(characters, name):
    sizes = {f"package_{name}/{i}.py": count for i, count in enumerate(characters)}
    split = corpus.split_by_file(sizes)
    assert set(split) == {"train", "validation", "test"}
    assigned = [path for paths in split.values() for path in paths]
    assert sorted(assigned) == sorted(sizes)
    total = sum(sizes.values())
    for name in ("validation", "test"):
        # The share is exceeded by less than one file.
        held_out = [sizes[path] for path in split[name]]
        assert 0.05 * total <= sum(held_out) < 0.05 * total + max(held_out)


def test_the_split_depends_on_names_and_sizes_not_on_order():
    sizes = {f"package/module_{i}.py": 100 + i for i in range(200)}
    assert corpus.split_by_file(sizes) == corpus.split_by_file(dict(reversed(sizes.items())))


def test_the_split_is_the_same_on_every_machine():
    """Python's own hash differs between processes; this split must not."""
    sizes = {f"module_{i}.py": 100 for i in range(20)}
    split = corpus.split_by_file(sizes)
    assert {name: split[name] for name in ("validation", "test")} == {
        "validation": ["module_14.py"],
        "test": ["module_5.py"],
    }


@pytest.mark.parametrize("sizes", [{"a.py": 9}, {"a.py": 9, "b.py": 9}])
def test_too_few_files_are_an_error(sizes):
    with pytest.raises(ValueError, match="too few to split"):
        corpus.split_by_file(sizes)


def test_a_corpus_contains_whole_files(tmp_path):
    files = {f"{i}.py": f"x_{i} = {i}\n" * (i + 1) for i in range(40)}
    loaded = corpus.load_corpus(write(tmp_path, files))
    split = corpus.split_by_file({path: len(text) for path, text in files.items()})
    for name, paths in split.items():
        assert corpus.decode(getattr(loaded, name)) == "".join(files[path] for path in paths)


def test_loading_again_gives_the_same_read_only_arrays(tmp_path):
    root = write(tmp_path, {f"{i}.py": "x\n" * 9 for i in range(40)})
    first = corpus.load_corpus(root)
    assert corpus.load_corpus(root) is first
    with pytest.raises(ValueError, match="read-only"):
        first.train[0] = 0


def test_this_pythons_library():
    loaded = corpus.load_corpus()
    sizes = np.array([len(ids) for ids in loaded])
    assert sizes.sum() > 5_000_000
    shares = sizes / sizes.sum()
    assert 0.85 < shares[0] <= 0.9
    assert np.all((shares[1:] > 0.045) & (shares[1:] < 0.08))
    for ids in loaded:
        assert ids.dtype == np.uint8
        assert ids.max() < corpus.VOCABULARY_SIZE
        assert np.mean(ids == corpus.OTHER) < 0.001
        assert corpus.decode(ids).count("def ") > 100
    whole = "".join(corpus.decode(ids) for ids in loaded)
    source = Path(sysconfig.get_path("stdlib"), "bisect.py").read_text(encoding="utf-8")
    assert whole.count(source) == 1
