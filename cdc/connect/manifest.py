"""Connectors as files: what a manifest may say, and the variables in it.

A manifest has the keys of Connect's REST bodies, so what somebody copied from ``POST /connectors``, or from the answer
of ``GET /connectors/NAME``, works as it is: ``name``, ``config``, ``initial_state``; ``tasks`` and ``type`` are passed
over. Ours are ``state`` (running, paused, stopped: what it shall be, not only at its creation) and ``unchecked``
(options that shall not be taken for mistyped ones). YAML or JSON, one connector a document.

``${NAME}`` in capitals is a variable: of the environment, else of ``environments/ENV.yaml``. Everything else that
begins like one is not ours and stays: ``${file:/run/secrets/db:password}`` is for the worker, ``${routedByValue}`` for
the Event Router. ``$${NAME}`` is a ``${NAME}`` that stays.

All mistakes of all files are told at once, with their places; never with a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cdc.connect.secret import is_secret_name
from cdc.connect.spelling import did_you_mean
from cdc.errors import ConfigError

STATES = ("running", "paused", "stopped")
KEYS = ("name", "config", "state", "initial_state", "unchecked")
_PASSED_OVER = ("tasks", "type")
_VARIABLE = re.compile(r"\$(\$?)\{([A-Z][A-Z0-9_]*)\}")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A connector as somebody wants it; the variables are filled in."""

    name: str
    config: Mapping[str, str] = field(repr=False)
    state: str = "running"
    unchecked: tuple[str, ...] = ()
    origin: str = ""
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Values of variables whose name says that they are secret."""


class _Mistakes:
    def __init__(self) -> None:
        self.told: list[str] = []

    def add(self, origin: str, message: str) -> None:
        self.told.append(f"{origin}: {message}")


class Variables:
    """What stands for ``${NAME}``; the environment wins over the file."""

    def __init__(self, of_file: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._of_file = of_file
        self._environ = environ

    def fill(self, text: str) -> tuple[str, set[str], list[str]]:
        """The text with its variables, the secrets among them, and the names of those that are nowhere."""
        secrets: set[str] = set()
        missing: list[str] = []

        def value(match: re.Match[str]) -> str:
            kept, name = match.groups()
            if kept:
                return f"${{{name}}}"
            found = self._environ.get(name, self._of_file.get(name))
            if found is None:
                missing.append(name)
                return ""
            if is_secret_name(name):
                secrets.add(found)
            return found

        return _VARIABLE.sub(value, text), secrets, missing


def keep(text: str) -> str:
    """A text in which nothing is a variable any more."""
    return _VARIABLE.sub(lambda match: f"${match[0]}", text)


def files(folder: Path) -> list[Path]:
    """The manifests of a folder, in the order they are applied: by name."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} with manifests", hint="name it with --directory")
    return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())


def load(paths: Iterable[Path], variables: Variables, names: Sequence[str] = ()) -> list[Manifest]:
    """Read manifests; ConfigError with every mistake that is in them (in those of ``names``, if there are any)."""
    mistakes = _Mistakes()
    found: list[Manifest] = []
    for path in paths:
        for origin, document in _documents(path, mistakes):
            before = len(mistakes.told)
            made = _manifest(origin, document, variables, mistakes)
            if made is None:
                if names and _name(document, variables) not in names:
                    del mistakes.told[before:]  # what is not asked for need not have its variables
                continue
            first = next((one for one in found if one.name == made.name), None)
            if first:
                mistakes.add(origin, f"the connector {made.name} is already in {first.origin}")
            found.append(made)
    if mistakes.told:
        raise ConfigError("\n  ".join(["the manifests have mistakes:", *mistakes.told]), hint="correct the files")
    return found


def _documents(path: Path, mistakes: _Mistakes) -> Iterator[tuple[str, Any]]:
    try:
        nodes: list[yaml.Node | None] = list(yaml.compose_all(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except OSError as error:
        mistakes.add(str(path), f"cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError:
        mistakes.add(str(path), "is not UTF-8")
        return
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        mistakes.add(f"{path}:{mark.line + 1}" if mark else str(path), "is not YAML")
        return
    for node in nodes:
        if node is None:
            continue
        origin = f"{path}:{node.start_mark.line + 1}" if len(nodes) > 1 else str(path)
        before = len(mistakes.told)
        _refuse_twins(str(path), node, mistakes)
        if len(mistakes.told) == before:
            yield origin, _construct(node)


def _construct(node: yaml.Node) -> Any:
    """Scalars as they are written: Connect knows text only, and YAML's `on` is not `true` to it."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _construct(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item) for item in node.value]
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _refuse_twins(path: str, node: yaml.Node, mistakes: _Mistakes) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twins(path, item, mistakes)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            mistakes.add(f"{path}:{line}", f"{key.value} is already in line {seen[key.value]}")
        seen.setdefault(str(key.value), line)
        _refuse_twins(path, value, mistakes)


def _manifest(origin: str, document: Any, variables: Variables, mistakes: _Mistakes) -> Manifest | None:
    before = len(mistakes.told)
    if not isinstance(document, dict):
        mistakes.add(origin, "must be a mapping with name and config")
        return None
    for key in document:
        if key not in (*KEYS, *_PASSED_OVER):
            mistakes.add(origin, f"unknown key {key}{did_you_mean(key, KEYS)}")
    filled = _Filled(origin, variables, mistakes)
    name = filled.text("name", document.get("name"))
    config = filled.config(document.get("config"))
    if name and config.get("name", name) != name:
        mistakes.add(origin, f"config.name is {config['name']}, and name is {name}: leave the one in config away")
    state = _state(origin, filled, document, mistakes)
    unchecked = document.get("unchecked") or []
    if not (isinstance(unchecked, list) and all(isinstance(one, str) for one in unchecked)):
        mistakes.add(origin, "unchecked must be a list of options")
    if len(mistakes.told) > before:
        return None
    return Manifest(name, {**config, "name": name}, state, tuple(unchecked), origin, tuple(sorted(filled.secrets)))


def _name(document: Any, variables: Variables) -> str:
    given = document.get("name") if isinstance(document, dict) else None
    return variables.fill(given)[0] if isinstance(given, str) else ""


def _state(origin: str, filled: _Filled, document: Mapping[str, Any], mistakes: _Mistakes) -> str:
    given = [document[key] for key in ("state", "initial_state") if document.get(key) is not None]
    if not given:
        return STATES[0]
    state = filled.text("state", given[0]).lower()
    if state and state not in STATES:
        mistakes.add(origin, f"state must be {', '.join(STATES)}{did_you_mean(state, STATES)}")
    return state


class _Filled:
    """Fills in the variables of one manifest and keeps what was wrong with them."""

    def __init__(self, origin: str, variables: Variables, mistakes: _Mistakes) -> None:
        self._origin = origin
        self._variables = variables
        self._mistakes = mistakes
        self.secrets: set[str] = set()

    def text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            self._mistakes.add(self._origin, f"{key} is missing" if value in (None, "") else f"{key} must be text")
            return ""
        return self._fill(key, value)

    def config(self, given: Any) -> dict[str, str]:
        if not isinstance(given, dict) or not given:
            self._mistakes.add(self._origin, "config is missing: a mapping of the connector's options")
            return {}
        made = {}
        for key, value in given.items():
            if value is None:
                self._mistakes.add(self._origin, f"config: {key} is empty: leave it away, or write ''")
            elif not isinstance(value, str):
                self._mistakes.add(self._origin, f"config: {key} must be one value; a list is written a,b,c")
            else:
                made[key] = self._fill(f"config: {key}", value)
        if "connector.class" not in given:
            close = did_you_mean("connector.class", [key for key in given if "class" in key])
            self._mistakes.add(self._origin, f"config: connector.class is missing{close}")
        return made

    def _fill(self, key: str, text: str) -> str:
        made, secrets, missing = self._variables.fill(text)
        self.secrets |= secrets
        for name in missing:
            self._mistakes.add(
                self._origin, f"{key}: the variable {name} is neither in the environment nor in the environment's file"
            )
        return made


def chosen(manifests: Sequence[Manifest], names: Sequence[str]) -> list[Manifest]:
    """Those of these names, all without names; ConfigError for a name that is not there."""
    known = [one.name for one in manifests]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"no manifest is called {name}{did_you_mean(name, known)}",
                hint=f"there are: {', '.join(known) or 'none'}",
            )
    return [one for one in manifests if not names or one.name in names]
