"""Asking a running tailer how it is: its /status over HTTP, from the machine it runs on or from elsewhere."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from cdc.errors import CdcError, ConfigError

_ANSWER_WITHIN = 10.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on by somebody, not by us


def url_of(address: tuple[str, int] | None, *, config: str) -> str:
    """Where a tailer with this `http.listen` is asked. Raises ConfigError where that cannot be known."""
    if address is None:
        raise ConfigError(f"{config}: http.listen is off", hint="Set it to host:port and restart the tailer.")
    host, port = address
    if port == 0:
        raise ConfigError(
            f"{config}: http.listen has port 0, so each start picks another port",
            hint="The tailer logs it (`listening for health checks and metrics`): ask with --url URL.",
        )
    host = _ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def fetch_status(url: str) -> dict[str, Any]:
    """What /status says. Raises CdcError."""
    base = (url if "://" in url else f"http://{url}").rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{url!r} is no URL of a tailer", hint="Write http://host:port.")
    where = f"{base.removesuffix('/status')}/status"
    try:
        # Health checks are not for proxies.
        with build_opener(ProxyHandler({})).open(where, timeout=_ANSWER_WITHIN) as response:
            found = json.load(response)
    except HTTPError as error:
        raise _not_a_tailer(where, f"it answers {error.code}") from error
    except (URLError, OSError, HTTPException) as error:
        raise CdcError(
            f"no tailer answers at {where}: {getattr(error, 'reason', None) or error}",
            hint="is it running, and is this its http.listen? Its log says the URL (`listening for health checks`)",
        ) from error
    except ValueError as error:
        raise _not_a_tailer(where, "its answer is no JSON") from error
    if not isinstance(found, dict) or "sources" not in found:
        raise _not_a_tailer(where, "its answer is no status")
    return found


def _not_a_tailer(where: str, why: str) -> CdcError:
    return CdcError(f"what answers at {where} is not a tailer: {why}", hint="Check host and port.")
