"""The source text of Python's standard library as class indices, split by file.

Every machine that runs this code has the text, so nothing is downloaded. The text differs a little
between versions of Python, so results are for one version.
"""

import functools
import hashlib
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.tasks.task import Split

ALPHABET = "\n\t" + "".join(map(chr, range(0x20, 0x7F)))
"""The characters that have their own class: newline, tab and printable ASCII."""

OTHER = len(ALPHABET)
"""The class of all other characters."""

VOCABULARY_SIZE = len(ALPHABET) + 1

HELD_OUT_SHARE = 0.05
"""Share of the characters in the validation split, and of those in the test split."""

SKIPPED_FOLDERS = frozenset(
    {
        "test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__",
        "encodings", "pydoc_data", "lib2to3",
    }
)  # fmt: skip
"""Folders of tests, third-party code and generated text. The tables in ``encodings`` are nearly
equal to each other, so held-out tables would repeat training text."""

SKIPPED_PREFIXES = ("_sysconfigdata", "config-")
"""Prefixes of files that the build of Python generates, which differ between machines."""


class Corpus(NamedTuple):
    """Class indices of each split, ``uint8 [N]``: the concatenation of whole files."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def encode(text: str) -> np.ndarray:
    """Convert a text to class indices, ``uint8 [N]``.

    >>> encode("a b").tolist()
    [67, 2, 68]
    """
    table = np.full(0x80, OTHER, np.uint8)
    table[[ord(char) for char in ALPHABET]] = np.arange(OTHER, dtype=np.uint8)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return table[np.minimum(points, 0x7F)]


def decode(ids: np.ndarray) -> str:
    """Convert class indices ``[N]`` to text; `OTHER` becomes U+FFFD.

    >>> decode(encode("def café():"))
    'def caf�():'
    """
    table = np.array([ord(char) for char in ALPHABET + "\N{REPLACEMENT CHARACTER}"], "<u4")
    return table[np.asarray(ids)].tobytes().decode("utf-32-le")


def read_sources(root: Path) -> dict[str, str]:
    """Read all source files below a folder.

    Skipped are the folders and prefixes above, links, empty files, and the few files that are not
    UTF-8.

    Args:
      root: the folder of the standard library.

    Returns:
      The texts by POSIX path, relative to `root`.

    Raises:
      ValueError: if there are no source files, for example in a zipped or compiled library.
    """
    sources = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        skipped = not SKIPPED_FOLDERS.isdisjoint(parts)
        if skipped or any(part.startswith(SKIPPED_PREFIXES) for part in parts):
            continue
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text:
            sources["/".join(parts)] = text
    if not sources:
        raise ValueError(
            f"chars: found no Python source files in {root}; this Python seems to ship its"
            " standard library zipped or compiled"
        )
    return sources


def split_by_file(sizes: Mapping[str, int]) -> dict[Split, list[str]]:
    """Assign whole files to the splits, with about 90, 5 and 5 percent of the characters.

    The files are sorted by a hash of their path. The first 5 percent are the test split, the next 5
    percent the validation split.

    Args:
      sizes: number of characters of each file, by path.

    Raises:
      ValueError: if a split gets no files, because they are too few or too unequal.
    """
    paths = sorted(sizes, key=lambda path: hashlib.sha256(path.encode()).digest())
    share = HELD_OUT_SHARE * sum(sizes.values())
    split: dict[Split, list[str]] = {"train": [], "validation": [], "test": []}
    filled = dict.fromkeys(split, 0)
    for path in paths:
        if filled["test"] < share:
            name = "test"
        elif filled["validation"] < share:
            name = "validation"
        else:
            name = "train"
        split[name].append(path)
        filled[name] += sizes[path]
    if not all(split.values()):
        raise ValueError(f"chars: {len(paths)} source files are too few to split")
    return split


@functools.cache
def load_corpus(root: Path | None = None) -> Corpus:
    """Read, split and encode the standard library.

    The result is cached; its arrays are read-only.

    Args:
      root: the folder to read; None for the standard library of this Python.

    Raises:
      ValueError: if there are no source files, or too few to split.
    """
    sources = read_sources(root or Path(sysconfig.get_path("stdlib")))
    split = split_by_file({path: len(text) for path, text in sources.items()})
    corpus = Corpus(
        **{name: encode("".join(sources[path] for path in paths)) for name, paths in split.items()}
    )
    for ids in corpus:
        ids.flags.writeable = False
    return corpus
