"""A YAML document as plain data, with the place of every key and value.

Places are why this does not just call `yaml.safe_load`: errors name line and column. A key
twice in one mapping, which YAML readers let pass, is refused. Messages of the YAML reader
are taken only where they cannot hold a piece of a value: one unquoted `*`, `&` or `!` in
front of a password makes it a name, which the reader would print.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_ODD = re.compile(r"[^\w.`$-].*", re.DOTALL)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something is written; line 0 for what stands in no file."""

    origin: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}:{self.column}" if self.line else self.origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, for people."""

    place: Place
    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {spell(self.path)}: {self.message}" if self.path else f"{self.place}: {self.message}"


@dataclass(slots=True)
class Document:
    """`keys` has the place of each key (of each item in a list), `values` that of what it holds."""

    origin: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """The place of a path, or of the nearest thing around it that is written somewhere.

        Of a value, if it is a single one; a whole mapping is pointed at by its key.
        """
        of_key = of_key or isinstance(self._at(path), dict)
        while path:
            found = (self.keys if of_key else self.values).get(path) or self.keys.get(path)
            if found:
                return found
            path, of_key = path[:-1], True
        return Place(self.origin, 1, 1)

    def _at(self, path: Path) -> Any:
        found = self.data
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def spell(path: Path) -> str:
    """`routes[0].topic`; keys with dots in quotes.

    A key is cut where no key of ours goes on: `{password hush}` is a key whose end is no business of a log.
    """
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
            continue
        name = _ODD.sub("…", str(step), count=1)
        if "." in name:
            out += f'["{name}"]'
        else:
            out += f".{name}" if out else name
    return out


def read(text: str, origin: str) -> Document:
    """Parse; mistakes of YAML itself are in `problems`."""
    document = Document(origin)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            for path, key, value in _walk(loader, node, (), []):
                place = _place(origin, key)
                if path in document.keys and document.keys[path] != place:
                    first = document.keys[path].line
                    document.problems.append(Problem(place, path, f"this key is already in line {first}"))
                    continue
                document.keys[path], document.values[path] = place, _place(origin, value)
            document.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(origin, mark.line + 1, mark.column + 1) if mark else Place(origin, 1, 1)
        document.problems.append(Problem(place, (), f"not YAML: {_harmless(error.problem or '')}"))
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        document.problems.append(Problem(Place(origin, 1, 1), (), f"not YAML: {type(error).__name__}"))
    return document


def _place(origin: str, node: yaml.Node) -> Place:
    return Place(origin, node.start_mark.line + 1, node.start_mark.column + 1)


def _walk(
    loader: yaml.SafeLoader, node: yaml.Node, path: Path, above: list[yaml.Node]
) -> Iterator[tuple[Path, yaml.Node, yaml.Node]]:
    """Every key and list item with its path; an alias to something around it is not followed."""
    if any(node is other for other in above):
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            step = loader.construct_object(key) if isinstance(key, yaml.ScalarNode) else str(key.value)
            yield (*path, step), key, value
            yield from _walk(loader, value, (*path, step), [*above, node])
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield (*path, at), item, item
            yield from _walk(loader, item, (*path, at), [*above, node])


def _harmless(problem: str) -> str:
    if "alias" in problem or "anchor" in problem:
        return "a text that begins with * or & must be in quotes"
    if "tag" in problem or "constructor" in problem:
        return "a text that begins with ! must be in quotes"
    return problem
