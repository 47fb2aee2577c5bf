"""The nearest valid name, for messages about a name that does not exist."""

import difflib
from collections.abc import Iterable


def nearest(name: object, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid name that was most likely meant, or None where none is near.

    Args:
      name: the given name.
      names: the valid names.
      cutoff: how similar the two must be, from 0 to 1.

    Returns:
      One of `names`, or None.

    >>> nearest("adm", ["adam", "rmsprop"])
    'adam'
    """
    close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(
    name: object, names: Iterable[str], *, cutoff: float = 0.6, quoted: bool = False
) -> str:
    """The end of a message: the nearest valid name, or nothing where none is near.

    Args:
      name: the given name.
      names: the valid names.
      cutoff: how similar the two must be, from 0 to 1.
      quoted: whether the name stands in quotes.

    Returns:
      ``"; did you mean adam?"``, or an empty string.

    >>> did_you_mean("adm", ["adam", "rmsprop"])
    '; did you mean adam?'
    """
    close = nearest(name, names, cutoff=cutoff)
    return "" if close is None else f"; did you mean {repr(close) if quoted else close}?"
