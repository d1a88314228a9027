"""From a file and the environment to checked settings, or one ConfigError that lists every mistake.

Order: YAML with places, overrides of the environment, the parts one by one (pydantic),
then what only the whole can know. A stage runs only where the one before found nothing,
so that no mistake is reported twice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from cdc.errors import ConfigError
from cdc.settings import checks, document, environment, problems
from cdc.settings.document import Place, Problem
from cdc.settings.whole import Settings


def load(path: str | Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check a configuration. Raises ConfigError."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file", hint="Make one with `cdc config init`.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", hint="Save the file as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="Check the path and its rights.") from error
    return parse(text, origin=str(path), folder=file.parent, environ=os.environ if environ is None else environ)


def parse(text: str, *, origin: str, folder: Path, environ: Mapping[str, str]) -> Settings:
    """The same for a text; files it names are looked for in the folder."""
    read = document.read(text, origin)
    _refuse(read.problems)
    if not isinstance(read.data, dict):
        what = "is empty" if read.data is None else "must be a mapping, key: value"
        _refuse([Problem(Place(origin, 1, 1), (), what)])
    environment.override(read, environ, Settings)
    try:
        settings = Settings.model_validate(read.data, context={"folder": str(folder)})
    except ValidationError as error:
        read.problems += problems.explain(error, read, Settings)
        _refuse(read.problems, cause=error)
        raise  # explain() gives one problem an error: never reached
    read.problems += [Problem(read.place(path), path, message) for path, message in checks.findings(settings)]
    _refuse(read.problems)
    return settings


def _refuse(found: list[Problem], cause: Exception | None = None) -> None:
    if not found:
        return
    lines = [str(problem) for problem in sorted(found, key=lambda problem: problem.place)]
    head = [] if len(lines) == 1 else [f"{len(lines)} problems in the configuration:"]
    # `from None`: pydantic's own text adds nothing, and must not be printed beside ours.
    error = ConfigError("\n".join(head + lines), hint="`cdc config schema` and `cdc config init` show what is allowed.")
    raise error from (None if isinstance(cause, ValidationError) else cause)
