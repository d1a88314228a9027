"""CDC_* variables that override the file: `CDC_SOURCES__SHOP__PASSWORD` is sources.shop.password.

`__` parts the steps; case is ignored, and `-` in a source's name is `_`. A variable sets a
single value; for a list or a mapping its text is read as YAML. A password in the
environment takes the place of every password that the file has.

A variable with `__` that leads nowhere is an error, and so is one that is nearly the name
of an option (CDC_ONERROR): an override that is silently not one is worse than a start that
fails. Others without `__` are not ours to judge (CDC_HOME). CDC_TEST_*, CDC_CACHE,
CDC_STACK_DIR, CDC_DEBIAN_MIRROR, CDC_OUTBOX_*, CDC_CONNECT_* and CDC_CONFIG belong to other parts.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from cdc.settings.document import Document, Path, Place, Problem
from cdc.settings.problems import similar
from cdc.settings.section import Section, annotation_at, is_section

PREFIX = "CDC_"
FOREIGN = ("CDC_TEST_", "CDC_OUTBOX_", "CDC_CONNECT_", "CDC_CACHE", "CDC_STACK_DIR", "CDC_DEBIAN_MIRROR", "CDC_CONFIG")


def override(document: Document, environ: Mapping[str, str], root: type[Section]) -> None:
    """Put the variables' values into the document; those that lead nowhere become problems."""
    data = copy.deepcopy(document.data)
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith(FOREIGN) or upper == PREFIX:
            continue
        place = Place(f"environment variable {name}")
        steps = upper[len(PREFIX) :].lower().split("__")
        path, mistake = _resolve(steps, data, root)
        if mistake and len(steps) == 1 and not similar(steps[0], root.model_fields):
            continue
        if mistake:
            document.problems.append(Problem(place, (), mistake))
            continue
        try:
            value = _value(environ[name], annotation_at(root, path))
        except (yaml.YAMLError, RecursionError, ValueError, TypeError):  # ValueError: 2026-99-99 looks like a date
            document.problems.append(Problem(place, path, "is not YAML, as a list or mapping here must be"))
            continue
        _put(data, path, value)
        _drop_rivals(data, path, environ)
        document.keys[path] = document.values[path] = place
    document.data = data


def _resolve(steps: list[str], data: Any, root: type[Section]) -> tuple[Path, str]:
    """The path that the steps mean, or why there is none."""
    path: Path = ()
    for step in steps:
        annotation = annotation_at(root, path) if path else root
        here = _look(data, path)
        if is_section(annotation):
            known = list(annotation.model_fields)
            what = "option"
        elif get_origin(annotation) is dict:
            known = [key for key in here if isinstance(key, str)] if isinstance(here, dict) else []
            what = "source" if path == ("sources",) else "key"
        else:
            return path, "leads past a single value"
        found = next((name for name in known if name.lower().replace("-", "_") == step), None)
        if found is None:
            return path, f"there is no {what} {step!r}{similar(step, known)}"
        path = (*path, found)
    return path, ""


def _look(data: Any, path: Path) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _put(data: Any, path: Path, value: Any) -> None:
    for step in path[:-1]:
        if not isinstance(data.get(step), dict):
            data[step] = {}
        data = data[step]
    data[path[-1]] = value


def _value(text: str, annotation: Any) -> Any:
    """Text stays text where text is wanted: a password of digits is no number."""
    if _takes_text(annotation) or (get_origin(annotation) is list and not text.lstrip().startswith("[")):
        return text
    return yaml.safe_load(text)


def _takes_text(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return all(isinstance(value, str) for value in get_args(annotation))
    return annotation in {str, SecretStr, float} or annotation is typing.Any


def _drop_rivals(data: Any, path: Path, environ: Mapping[str, str]) -> None:
    """The environment's password, or host, replaces the file's way to say it; two variables stay a contradiction."""
    section = _look(data, path[:-1])
    stem = "__".join(str(step) for step in path[:-1]).upper().replace("-", "_")
    rivals = {"password": ("password_file",), "password_file": ("password",), "url": ("host", "port", "user")}
    for rival in rivals.get(str(path[-1]), ()):
        if f"{PREFIX}{stem}__{rival.upper()}" not in {name.upper() for name in environ}:
            section.pop(rival, None)
    url = section.get("url") if isinstance(section, dict) else None
    if (
        str(path[-1]) in {"password", "password_file"}
        and isinstance(url, str)
        and f"{PREFIX}{stem}__URL" not in environ
    ):
        section["url"] = _without_password(url)


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        head, at, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{head.partition(':')[0]}{at}{host}").geturl()
    except ValueError:
        return url  # no URL: said by its own check
