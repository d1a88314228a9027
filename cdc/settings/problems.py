"""Pydantic's findings as sentences for people: what is wrong, and what is allowed.

Values are never repeated (they may be secrets), only names of keys and the choices that
exist. Options of the design that this version lacks are answered from `later`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cdc.settings import later
from cdc.settings.document import Document, Path, Problem
from cdc.settings.section import Section, annotation_at, is_section

_SENTENCES = {
    "string_type": "must be text (in quotes, if it looks like a number, true or a date)",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping, key: value",
    "model_type": "must be a mapping, key: value",
    "model_attributes_type": "must be a mapping, key: value",
    "list_type": "must be a list",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_MEANT = re.compile(r'unknown key; did you mean "(.*)"')
_CHOICE = re.compile(r"'([^']*)'|(True|False|None)")


def similar(word: str, known: Iterable[str]) -> str:
    """`; did you mean "tables"?`, or nothing."""
    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.6)
    return f'; did you mean "{spelled[close[0]]}"?' if close else ""


def explain(error: ValidationError, document: Document, root: type[Section]) -> list[Problem]:
    """Pydantic's errors with their places; an option that is only misspelt is not missing, too."""
    found = [_problem(details, document, root) for details in error.errors(include_url=False, include_input=True)]
    meant = {(*one.path[:-1], match[1]) for one in found if (match := _MEANT.search(one.message))}
    return [one for one in found if not (one.path in meant and one.message.startswith("is missing"))]


def _problem(details: ErrorDetails, document: Document, root: type[Section]) -> Problem:
    path: Path = details["loc"]
    of_key = details["type"] in {"extra_forbidden", "missing"}
    if path and path[-1] == "[key]":
        path, of_key = path[:-1], True
    message = _message(details, path, root, of_key=of_key)
    at = path[:-1] if details["type"] == "missing" else path
    return Problem(document.place(at, of_key=of_key), path, message)


def _message(details: ErrorDetails, path: Path, root: type[Section], *, of_key: bool) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown(path, root)
    if kind == "missing":
        return _missing(path, root)
    if kind == "literal_error":
        return _choice(details, path, of_key=of_key)
    if kind in {"value_error", "assertion_error"}:
        return str(details["ctx"]["error"])
    if of_key and kind == "string_type":
        return "a key must be text: put it in quotes"
    sentence = _SENTENCES.get(kind) or details["msg"].replace("Input should", "must", 1)
    return f"is empty; it {sentence}" if details["input"] is None else sentence


def _unknown(path: Path, root: type[Section]) -> str:
    key = str(path[-1])
    section = annotation_at(root, path[:-1]) if len(path) > 1 else root
    if key in later.KEYS:
        return later.KEYS[key]
    known: Sequence[str] = list(section.model_fields) if is_section(section) else []
    close = similar(key, known)
    return f"unknown key{close}" if close else f"unknown key; known here: {', '.join(known)}"


def _missing(path: Path, root: type[Section]) -> str:
    section = annotation_at(root, path[:-1]) if len(path) > 1 else root
    field = section.model_fields.get(str(path[-1])) if is_section(section) else None
    return f"is missing: {field.description}" if field is not None and field.description else "is missing"


def _choice(details: ErrorDetails, path: Path, *, of_key: bool) -> str:
    value: Any = details["input"]
    choices = [
        a or {"True": "true", "False": "false", "None": "null"}[b]
        for a, b in _CHOICE.findall(details["ctx"]["expected"])
    ]
    name = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
    if isinstance(value, str) and (soon := later.VALUES.get((name, value))):
        return f"{value} {soon}"
    close = similar(value, choices) if isinstance(value, str) else ""
    what = "unknown key, allowed are" if of_key else "must be one of"
    return f"{what} {', '.join(choices)}{close}"
