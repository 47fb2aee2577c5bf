"""The source text of Python's standard library as classes, split by file.

It is on every machine that runs this code, so nothing is downloaded. Versions of Python differ a
little, and so does what they ship: figures are for one version.
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
"""The characters with a class of their own: newline, tab and printable ASCII."""

OTHER = len(ALPHABET)
"""The class of every other character."""

VOCABULARY_SIZE = len(ALPHABET) + 1

HELD_OUT_SHARE = 0.05
"""Share of the characters in the validation split, and in the test split."""

SKIPPED_FOLDERS = frozenset(
    {
        "test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__",
        "encodings", "pydoc_data", "lib2to3",
    }
)  # fmt: skip
"""Tests, other people's code, and generated text: the tables of ``encodings`` are near copies of
each other, so a split by file would not keep them apart."""

SKIPPED_PREFIXES = ("_sysconfigdata", "config-")
"""Files written when Python was built, which differ between machines."""


class Corpus(NamedTuple):
    """Class indices of each split's text, ``uint8 [N]``: whole files, one after the other."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def encode(text: str) -> np.ndarray:
    """Class indices of a text, ``uint8 [N]``.

    >>> encode("a b").tolist()
    [67, 2, 68]
    """
    table = np.full(0x80, OTHER, np.uint8)
    table[[ord(char) for char in ALPHABET]] = np.arange(OTHER, dtype=np.uint8)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return table[np.minimum(points, 0x7F)]


def decode(ids: np.ndarray) -> str:
    """Text of class indices ``[N]``; `OTHER` shows as U+FFFD.

    >>> decode(encode("def café():"))
    'def caf�():'
    """
    table = np.array([ord(char) for char in ALPHABET + "\N{REPLACEMENT CHARACTER}"], "<u4")
    return table[np.asarray(ids)].tobytes().decode("utf-32-le")


def read_sources(root: Path) -> dict[str, str]:
    """The text of every source file below a folder, by POSIX path relative to it.

    Left out are the folders and files named above, links, empty files, and the few files that
    are not UTF-8.

    Args:
      root: the standard library's folder.

    Raises:
      ValueError: when there are no such files, as where the library is zipped or compiled.
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
    """Deal whole files out to the splits, about 90, 5 and 5 percent of the characters.

    Files are put in the order of a hash of their path. The first to reach 5 percent are the test
    files, the next the validation files.

    Args:
      sizes: the characters of each file, by path.

    Raises:
      ValueError: when the files are too few or too unequal to leave every split some.
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

    The arrays are shared between callers, and read-only.

    Args:
      root: folder to read instead of this Python's standard library.

    Raises:
      ValueError: when there are no source files, or too few to split.
    """
    sources = read_sources(root or Path(sysconfig.get_path("stdlib")))
    split = split_by_file({path: len(text) for path, text in sources.items()})
    corpus = Corpus(
        **{name: encode("".join(sources[path] for path in paths)) for name, paths in split.items()}
    )
    for ids in corpus:
        ids.flags.writeable = False
    return corpus
