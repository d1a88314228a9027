"""An environment: which Connect cluster, who we are to it, and what the variables are there.

``connectors/environments/ENV.yaml``::

    connect:
      urls: [https://connect-1:8083, https://connect-2:8083]
      username: cdc
      password_file: /run/secrets/connect     # or bearer_token_file
      headers: {X-Tenant: shop}
      tls: {ca: ca.pem, cert: client.pem, key: client.key, verify: true}
    variables:
      DATABASE_HOST: db1.example

Files are relative to the environment's own. The process's environment wins over all of it: ``CDC_CONNECT_URL`` (several
with commas), ``CDC_CONNECT_USERNAME``, ``CDC_CONNECT_PASSWORD``, ``CDC_CONNECT_BEARER_TOKEN``, ``CDC_CONNECT_CA``,
``CDC_CONNECT_CERT``, ``CDC_CONNECT_KEY``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from cdc.connect.spelling import did_you_mean
from cdc.connect.wire import Address
from cdc.errors import ConfigError

_TOP = ("connect", "variables", "owns")
_CONNECT = ("urls", "username", "password_file", "bearer_token_file", "headers", "tls")
_TLS = ("ca", "cert", "key", "verify")
_OVERRIDES = {
    "CDC_CONNECT_USERNAME": "username",
    "CDC_CONNECT_PASSWORD": "password",
    "CDC_CONNECT_BEARER_TOKEN": "bearer_token",
    "CDC_CONNECT_CA": "ca",
    "CDC_CONNECT_CERT": "cert",
    "CDC_CONNECT_KEY": "key",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """What was said for one environment."""

    address: Address
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    owns: tuple[str, ...] = ()
    """Patterns of connectors' names that belong to these manifests: what --prune may delete."""


def read(path: Path | None, environ: Mapping[str, str]) -> Environment:
    """The environment of a file (None: of the process alone)."""
    document = _document(path) if path else {}
    origin = str(path or "the environment")
    known = _mapping(document, "", _TOP, origin)
    connect = _mapping(known.get("connect"), "connect", _CONNECT, origin)
    tls = _mapping(connect.get("tls"), "connect.tls", _TLS, origin)
    folder = path.parent if path else Path()
    address = Address(
        urls=_urls(connect.get("urls"), origin),
        username=_text(connect.get("username"), "connect.username", origin),
        password=_secret(folder, connect.get("password_file"), origin),
        bearer_token=_secret(folder, connect.get("bearer_token_file"), origin),
        headers=_texts(connect.get("headers"), "connect.headers", origin),
        **{name: str(folder / str(tls[name])) for name in ("ca", "cert", "key") if tls.get(name)},  # type: ignore[arg-type]
        verify=tls.get("verify") is not False,
    )
    given = {name: environ[variable] for variable, name in _OVERRIDES.items() if environ.get(variable)}
    if environ.get("CDC_CONNECT_URL"):
        given["urls"] = tuple(filter(None, environ["CDC_CONNECT_URL"].replace(",", " ").split()))  # type: ignore[assignment]
    variables, owns = _texts(known.get("variables"), "variables", origin), _names(known.get("owns"), "owns", origin)
    return Environment(replace(address, **given), variables, owns)  # type: ignore[arg-type]


def find(folder: Path, name: str | None) -> Path | None:
    """The file of an environment; None without a name."""
    if name is None:
        return None
    there = folder / "environments"
    known = sorted(path.stem for path in there.glob("*.yaml")) if there.is_dir() else []
    if name not in known:
        raise ConfigError(
            f"there is no environment {name} in {there}{did_you_mean(name, known)}",
            hint=f"there are: {', '.join(known) or 'none'}; or leave -e away and use --url",
        )
    return there / f"{name}.yaml"


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="check --directory and -e") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML ({type(error).__name__})", hint="correct the file") from error


def _mapping(value: Any, where: str, keys: tuple[str, ...], origin: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}: {where or 'the file'} must be a mapping", hint=f"known keys: {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise ConfigError(
                f"{origin}: unknown key {where + '.' if where else ''}{key}{did_you_mean(str(key), keys)}",
                hint=f"known here: {', '.join(keys)}",
            )
    return value


def _names(value: Any, where: str, origin: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{origin}: {where} must be a list of patterns", hint="owns: [outbox-*]")
    return tuple(names)


def _urls(value: Any, origin: str) -> tuple[str, ...]:
    urls = [value] if isinstance(value, str) else value or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ConfigError(f"{origin}: connect.urls must be a list of URLs", hint="urls: [http://connect:8083]")
    return tuple(urls)


def _text(value: Any, where: str, origin: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{origin}: {where} must be text", hint="put it in quotes")
    return value


def _texts(value: Any, where: str, origin: str) -> dict[str, str]:
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{origin}: {where} must be a mapping", hint="NAME: value")
    texts = {}
    for name, one in (value or {}).items():
        if isinstance(one, (dict, list)) or one is None:
            raise ConfigError(f"{origin}: {where}.{name} must be one value", hint="put it in quotes")
        texts[str(name)] = str(one).lower() if isinstance(one, bool) else str(one)
    return texts


def _secret(folder: Path, file: Any, origin: str) -> str | None:
    if not file:
        return None
    try:
        return (folder / str(file)).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{origin}: the secret's file {folder / str(file)} cannot be read",
            hint="is it there, and readable for this user?",
        ) from error
