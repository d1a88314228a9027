"""What an answer of a worker means: a body, another try, or one of our errors. Pure.

An answer that is worth another try, and why sending the request again is safe:

=====================================  ================================================================================
409 but "already exists"               refused before anything was done: a rebalance, a stale configuration
404 that is not Connect's own JSON     a worker that starts has no routes yet
500 with "Connection refused"          could not forward to a leader that died; nothing was done
500 forwarding, timed out, "retried"   may have been done: only where doing it twice is the same as once (``again``)
502, 503, 504                          a proxy, or a worker that stops: likewise
=====================================  ================================================================================

The codes alone do not tell: 409 is two things, and 500 stands for mistakes of the caller too (no configuration, offsets
that the plug-in refuses, an unknown plug-in).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from cdc.errors import (
    ConnectAccessDenied,
    ConnectError,
    ConnectorExists,
    ConnectorInvalid,
    ConnectorMissing,
    ConnectRefused,
    ConnectUnavailable,
)

_CREDENTIALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_PROXY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_PASSING = ("timed out", "safely retried", "unable to handle")
_INVALID = ("configuration is invalid", "Failed to find any class", "no connector type", "name configuration (")

# The first that fits; the words are looked for in what the worker said.
_HINTS: tuple[tuple[str, str], ...] = (
    ("must be in the STOPPED state", "cdc connectors stop NAME; `cdc connectors offsets set` stops and resumes it"),
    ("configuration is invalid", "cdc connectors validate names every field that is wrong"),
    ("Failed to find any class", "cdc connectors plugins list shows what the workers have"),
    ("Unknown plugin", "`cdc connectors plugins list` with --all shows what the workers have"),
    ("Logger ", "cdc connectors loggers show lists them"),
    ("invalid log level", "OFF, FATAL, ERROR, WARN, INFO, DEBUG or TRACE"),
    ("already exists", "cdc connectors show NAME shows the one that is there; apply changes it"),
)


class NotNow(ConnectUnavailable):
    """Worth another try."""


def judge(status: int, content: bytes, what: str, *, again: bool) -> Any:
    """The body of a good answer (None where it is empty); else raise."""
    body, known = _read(content)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return body
    said = str(body.get("message") or "").partition(", available connectors are:")[0] if known else ""
    sentence = f"{what}: {said or f'HTTP {status}'}"
    if _passes(status, said, known=known, again=again):
        raise NotNow(f"cannot be done now: {sentence}", hint="the workers' logs say more; --patience 5m waits longer")
    raise _error(status, said, known=known)(sentence, hint=_hint(status, said, known=known))


def _read(content: bytes) -> tuple[Any, bool]:
    """The body, and whether it is JSON as Connect's own errors are."""
    if not content:
        return None, False
    try:
        body = json.loads(content)
    except ValueError:
        return content.decode(errors="replace"), False
    return body, isinstance(body, dict) and ("error_code" in body or "status" in body)


def _passes(status: int, said: str, *, known: bool, again: bool) -> bool:
    if status == HTTPStatus.CONFLICT:
        return "already exists" not in said
    if status == HTTPStatus.NOT_FOUND:
        return not known
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        if "IO Error trying to forward" in said:
            return again or "Connection refused" in said
        return again and any(words in said for words in _PASSING)
    return again and status in _PROXY


def _error(status: int, said: str, *, known: bool) -> type[ConnectError]:
    if status in _CREDENTIALS:
        return ConnectAccessDenied
    if status == HTTPStatus.NOT_FOUND and known and "invalid log level" not in said:
        return ConnectorMissing
    if status == HTTPStatus.CONFLICT:
        return ConnectorExists
    if any(words in said for words in _INVALID):
        return ConnectorInvalid
    return ConnectUnavailable if status in _PROXY or "IO Error trying to forward" in said else ConnectRefused


def _hint(status: int, said: str, *, known: bool) -> str:
    if status in _CREDENTIALS:
        return "check CDC_CONNECT_USERNAME and CDC_CONNECT_PASSWORD, or CDC_CONNECT_BEARER_TOKEN"
    found = next((hint for words, hint in _HINTS if words in said), None)
    if found:
        return found
    if status == HTTPStatus.NOT_FOUND:
        return "cdc connectors list shows the connectors there are"
    return "the worker's log says more" if known else "is the URL the one of a Kafka Connect worker?"
