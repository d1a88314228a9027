"""`headers:` of a route: headers dropped, renamed and added, in this order, on what the envelope made.

Names are matched exactly; a glob may stand in `drop`. What is added comes last, in the
order it was written, its value a text with columns of the row in it; a NULL among them
leaves the header out. A header of the same name that is there already is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from cdc.errors import ValueInvalid
from cdc.model import Header, Value
from cdc.routing import globs
from cdc.routing.templates import Template

Adjust = Callable[[tuple[Value, ...], list[Header]], list[Header]]


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """What a route does with headers."""

    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, Template], ...] = ()

    def bind(self, index: Mapping[str, int], column: Callable[[str], str | None]) -> Adjust:
        """A function from a row's values and its headers to those it shall have."""
        names = dict(self.rename)
        added = [(name, _filler(template, index, column)) for name, template in self.add]
        replaced = {name for name, _ in added}
        kept: dict[str, str | None] = {}  # a header's name to its new one, None for one that goes

        def adjust(values: tuple[Value, ...], headers: list[Header]) -> list[Header]:
            out: list[Header] = []
            for name, value in headers:
                if name not in kept:
                    new = names.get(name, name)
                    kept[name] = None if self._drops(name) or new in replaced else new
                new_name = kept[name]
                if new_name is not None:
                    out.append((new_name, value))
            out += [(name, text) for name, fill in added if (text := fill(values)) is not None]
            if len(kept) > _MOST_NAMES:
                kept.clear()
            return out

        return adjust

    def _drops(self, name: str) -> bool:
        return any(globs.matches(glob, name) for glob in self.drop)


_MOST_NAMES = 1024


def _filler(
    template: Template, index: Mapping[str, int], column: Callable[[str], str | None]
) -> Callable[[tuple[Value, ...]], bytes | None]:
    places = [at for _, at in template.places(index, column, "header", ValueInvalid)]
    literals = [text.encode() for text in template.parts[0::2]]

    def fill(values: tuple[Value, ...]) -> bytes | None:
        out = [literals[0]]
        for at, literal in zip(places, literals[1:], strict=True):
            value = values[at]
            if value is None:
                return None
            out += (value if isinstance(value, bytes) else str(value).encode(), literal)
        return b"".join(out)

    return fill


def contradiction(rules: HeaderRules) -> str | None:
    """A sentence where one of them can have no effect or two would make the same header."""
    for old, new in rules.rename:
        if any(globs.matches(glob, old) for glob in rules.drop):
            return f"drops and renames {old!r}"
        if new in dict(rules.add):
            return f"renames {old!r} to {new!r}, which it also adds"
    targets = sorted(new for _, new in rules.rename)
    return next((f"renames two headers to {a!r}" for a, b in pairwise(targets) if a == b), None)
