"""Globs of routes: `*` any text (dots too), `?` one character, all else itself. Case counts.

No character classes: topic and event names are plain, and `[` in a pattern is a mistake
more often than a wish. `covers` is how unreachable routes are found.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def compiled(glob: str) -> re.Pattern[str]:
    """The glob as a pattern for fullmatch."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in glob), re.DOTALL)


def matches(glob: str | None, text: str | None) -> bool:
    """Does the text match? No glob matches everything, no text matches no glob."""
    return glob is None or (text is not None and compiled(glob).fullmatch(text) is not None)


def covers(first: str | None, second: str | None) -> bool:
    """Does everything that matches `second` match `first`, too? Never wrongly yes."""
    if first is None:
        return True
    if second is None:
        return False  # it also takes rows that have no such text at all
    return _covers(first, second)


def _covers(first: str, second: str) -> bool:
    """Match `first` against the text of `second`, whose own `*` only `*`, and whose `?` only `*` and `?` may take."""
    reached = {0}
    for char in first:
        if char == "*":
            reached = set(range(min(reached), len(second) + 1)) if reached else set()
        elif char == "?":
            reached = {at + 1 for at in reached if at < len(second) and second[at] != "*"}
        else:
            reached = {at + 1 for at in reached if at < len(second) and second[at] == char}
    return len(second) in reached
