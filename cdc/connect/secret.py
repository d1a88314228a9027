"""What of a connector's configuration must not be shown, and how it is shown instead.

A value is secret where the plug-in declares its option a PASSWORD, or where the option's name says so: plug-ins
declare some of theirs as plain strings, and pass-through options (``producer.override.sasl.jaas.config``) have no
definition at all. Two things are not secret whatever their option is called: an empty value, and a reference that the
worker resolves (``${file:/run/secrets/db:password}``), which is exactly what should stand there. In all other values
the user:password part of a URL and ``password=`` are blotted out.

``Mask.text`` is for what others wrote: a worker's error message or a stack trace may quote a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "********"

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|credential|(?<!max\.)\btoken\b(?!\.endpoint)|jaas\.config|private\.?key|"
    r"(api|access|account|shared|signing|encryption|ssl\.keystore)[._]?key$|auth\.user\.info|authorization|"
    r"certificate\.chain",
    re.IGNORECASE,
)
_PATH_NAME = re.compile(r"\.(location|file|path|alias|url|class|provider|type)$", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{[^}]+\}")
_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):([^/@\s]+)(?=@)")
_IN_QUERY = re.compile(r"(?i)(?<=password=)[^&;\s]+")
_SHORTEST = 3
"""A value shorter than this is not looked for in texts: it would blot out half of them."""


def is_secret_name(name: str) -> bool:
    """Does an option of this name hold a secret?"""
    return bool(_SECRET_NAME.search(name)) and not _PATH_NAME.search(name)


def is_reference(value: str) -> bool:
    """Is there nothing in the value but references for the worker to resolve?"""
    return bool(value) and not _REFERENCE.sub("", value).strip()


class Mask:
    """Knows which options are secret, and the secret values it has met."""

    def __init__(self, passwords: Iterable[str] = (), *configs: Mapping[str, str | None]) -> None:
        self._passwords = set(passwords)
        self._met: set[str] = set()
        self.learn(*configs)

    def learn(self, *configs: Mapping[str, str | None], passwords: Iterable[str] = ()) -> None:
        """Keep the secrets of these configurations out of every text from now on."""
        self._passwords.update(passwords)
        for config in configs:
            for name, value in config.items():
                if value is None:
                    continue
                if self.hides(name, value):
                    self._met.add(value)
                self._met.update(match[2] for match in _IN_URL.finditer(value))
                self._met.update(_IN_QUERY.findall(value))

    def hide(self, *values: str) -> None:
        """Keep these values out of every text, wherever they stand."""
        self._met.update(filter(None, values))

    def hides(self, name: str, value: str | None) -> bool:
        """Is the whole value of this option a secret?"""
        if not value or is_reference(value):
            return False
        return name in self._passwords or is_secret_name(name)

    def value(self, name: str, value: str | None) -> str | None:
        """A value as it may be shown."""
        if value is None or self.hides(name, value):
            return value and MASK
        return _IN_QUERY.sub(MASK, self.text(value))

    def config(self, config: Mapping[str, str | None]) -> dict[str, str | None]:
        """A whole configuration as it may be shown."""
        return {name: self.value(name, value) for name, value in config.items()}

    def text(self, text: str) -> str:
        """A text of others without the secrets that are known."""
        for secret in sorted(self._met, key=len, reverse=True):
            if len(secret) >= _SHORTEST:
                text = text.replace(secret, MASK)
        return _IN_URL.sub(rf"\1:{MASK}", text)
