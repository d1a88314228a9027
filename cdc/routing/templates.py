"""Topic templates: `"{topic}.v1"`, filled from a row.

`{name}` is a word of the layout (`event_name`, `topic`, ...) or a column of the table;
`{{` and `}}` are braces. Nothing of Python's format language: no attributes, indexes or
conversions, because the text comes from a configuration and the values from rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cdc.errors import RowRefused, TopicInvalid
from cdc.model import Value

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Template:
    """Parsed: literal texts and names in turn; `parts[0]`, `parts[2]`, ... are literal."""

    text: str
    parts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it."""
        return self.parts[1::2]

    @property
    def head(self) -> str:
        """The literal text before the first name."""
        return self.parts[0]

    @property
    def fixed(self) -> bool:
        """Is it the same for every row?"""
        return len(self.parts) == 1

    def given(self, name: str, value: str) -> Template:
        """The same with one name filled in."""
        parts = [self.parts[0]]
        for one, literal in zip(self.parts[1::2], self.parts[2::2], strict=True):
            if one == name:
                parts[-1] += value + literal
            else:
                parts += [one, literal]
        return Template(self.text, tuple(parts))

    def places(
        self, index: Mapping[str, int], column: Callable[[str], str | None], what: str, error: type[RowRefused]
    ) -> list[tuple[str, int]]:
        """Each name with the place of its column in a row. Raises the error, which says what names it."""
        found: list[tuple[str, int]] = []
        for name in self.names:
            at = index.get(column(name) or "")
            if at is None:
                raise error(
                    f"the {what} {self.text!r} names {name!r}, and the table has no such column",
                    hint=f"Columns of the row: {', '.join(index)}.",
                )
            found.append((name, at))
        return found

    def bind(self, index: Mapping[str, int], column: Callable[[str], str | None]) -> Callable[[tuple[Value, ...]], str]:
        """A function that fills it from a row's values. Raises TopicInvalid for a name the table does not have."""
        literals = self.parts[0::2]
        places = self.places(index, column, "topic template", TopicInvalid)

        def fill(values: tuple[Value, ...]) -> str:
            out = [literals[0]]
            for (name, at), literal in zip(places, literals[1:], strict=True):
                out.append(_text(values[at], name, self.text))
                out.append(literal)
            return "".join(out)

        return fill


def parse(text: str) -> Template:
    """Read a template. Raises ValueError that says what is wrong with it."""
    parts = [""]
    for token in _TOKEN.finditer(text):
        piece = token[0]
        name = token[1]
        if piece in {"{{", "}}"}:
            parts[-1] += piece[0]
        elif name is not None:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{{{name}}} is not a name: write the name of a column, such as {{topic}}")
            parts += [name, ""]
        elif piece in {"{", "}"}:
            raise ValueError(f"a lone {piece!r}: write {{name}} for a column, or {piece * 2!r} for the character")
        else:
            parts[-1] += piece
    return Template(text, tuple(parts))


def _text(value: Value, name: str, template: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise TopicInvalid(
                f"the topic template {template!r} needs {name!r}, which holds bytes that are not UTF-8 text",
                hint="Use a text column in the template.",
            ) from error
    what = "is NULL" if value is None else f"is a {type(value).__name__}"
    raise TopicInvalid(
        f"the topic template {template!r} needs {name!r}, which {what} in this row",
        hint="Correct the row's writer, or use another column in the template.",
    )
