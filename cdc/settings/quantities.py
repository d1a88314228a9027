"""Values people write in their own way: durations, sizes, secrets, files.

`30s`, `500ms`, `5m`, `1h` become seconds; `64MiB`, `512KiB`, `1GB` become bytes. A file
of a secret is relative to the configuration's folder, and must be there when the
configuration is read. One line break at its end is not part of the secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema

from cdc.errors import ConfigError

MASK = "********"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+)\s?(B|KB|MB|GB|KiB|MiB|GiB)")


def parse_duration(value: object) -> float:
    """`30s` to 30.0; 0 needs no unit."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _SECONDS[match[2]]
    raise ValueError("must be a number with a unit: 500ms, 30s, 5m, 1h or 1d")


def format_duration(seconds: float) -> str:
    """The shortest exact way to write it."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{round(seconds * 1000)}ms"


def parse_size(value: object) -> int:
    """`64MiB` to bytes; a bare number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("must be a size: 64MiB, 512KiB, 1GB or a number of bytes")


def format_size(size: int) -> str:
    """The largest binary unit that is exact."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def _readable(value: str, info: ValidationInfo) -> str:
    """An absolute path of a file that can be read."""
    path = Path((info.context or {}).get("folder", "."), value)
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"file {value} cannot be read: {error.strerror or error}") from error
    return str(path.absolute())


def _secret_file(value: str, info: ValidationInfo) -> str:
    """The same for a file that holds a secret: text, and not empty."""
    path = _readable(value, info)
    try:
        read_secret(None, path)
    except ConfigError as error:
        raise ValueError(error.message) from error
    return path


def _split(value: object) -> object:
    """`a,b` as a list; a list as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def read_secret(secret: SecretStr | None, file: str | None) -> str | None:
    """The secret itself, from where the configuration has it."""
    if file is not None:
        return _from_file(file)
    return None if secret is None else secret.get_secret_value()


def _from_file(file: str) -> str:
    hint = "Put the secret alone into the file, as text, and let this user read it."
    try:
        text = Path(file).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"secret file {file} cannot be read: {error.strerror or error}", hint=hint) from error
    except UnicodeDecodeError:
        raise ConfigError(f"secret file {file} is not UTF-8 text", hint=hint) from None  # it would quote the secret
    secret = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if not secret:
        raise ConfigError(f"secret file {file} is empty", hint=hint)
    return secret


def _schema(pattern: str, example: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": pattern, "examples": [example]}
    return WithJsonSchema(schema)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    _schema(r"^\d+(\.\d+)?(ms|s|m|h|d)$", "30s"),
]
Size = Annotated[
    int, BeforeValidator(parse_size), PlainSerializer(format_size), _schema(r"^\d+ ?(B|KB|MB|GB|KiB|MiB|GiB)$", "64MiB")
]
SecretFile = Annotated[str, AfterValidator(_secret_file)]
ReadableFile = Annotated[str, AfterValidator(_readable)]
CommaList = Annotated[list[str], BeforeValidator(_split)]
