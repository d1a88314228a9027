"""One request to a Connect cluster, whatever happens on the way: the only module that knows httpx.

Any worker can be asked anything (it forwards to the leader), so several URLs are one cluster: the first that takes the
connection is used, and stays in use until it fails.

Tried again until ``patience`` is over: a connection nobody takes (nothing was asked yet; the next URL), an answer that
says "not now" (``verdict``), and, only where doing it twice is the same as doing it once (``again``), a connection that
was lost or an answer that did not come. A request that may have been done and must not be sent twice ends as
ConnectUnavailable: the caller looks what became of it (``Client.create``).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import stamina

from cdc.connect.verdict import NotNow, judge
from cdc.errors import ConfigError, ConnectAccessDenied, ConnectUnavailable

Answering = Callable[[str, str, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]
"""A Connect cluster in this process: method, path with query, headers, body -> status, headers, body."""

_ASK = "is it the URL of a Kafka Connect worker, and does the worker run?"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Connect cluster is and who we are to it."""

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True
    connect_timeout: float = 5.0
    timeout: float = 95.0  # a worker gives up after 90 s by itself and then says why
    patience: float = 60.0


class Wire:
    """Sends requests; keeps connections until it is closed."""

    def __init__(self, address: Address, *, answering: Answering | None = None) -> None:
        if not address.urls:
            raise ConfigError("no Kafka Connect was named", hint="add --url http://HOST:8083, or set CDC_CONNECT_URL")
        self._address = address
        self._bases = [_split(url, address) for url in address.urls]
        self._at = 0
        self._http = httpx.Client(
            timeout=httpx.Timeout(address.timeout, connect=address.connect_timeout),
            verify=_tls(address),
            headers={"Accept": "application/json", "User-Agent": "cdc", **_authorization(address)},
            transport=httpx.MockTransport(_in_process(answering)) if answering else None,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    @property
    def urls(self) -> tuple[str, ...]:
        """The workers' addresses, as they may be shown."""
        return tuple(base for base, _ in self._bases)

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None, again: bool = True
    ) -> Any:
        """Ask and return the answer's body; ``again`` says that doing it twice is the same as doing it once."""
        for attempt in stamina.retry_context(
            on=NotNow, attempts=None, timeout=self._address.patience, wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
        ):
            with attempt:
                return self._once(method, path, query, body, again=again)
        raise AssertionError("stamina ends with a result or an error")  # pragma: no cover

    def ask_once(self, path: str, url: str | None = None) -> tuple[int, bytes]:
        """GET, of one worker if named, without a second try; status and what came, whatever it is."""
        base, auth = _split(url, self._address) if url else self._bases[self._at % len(self._bases)]
        try:
            response = self._http.get(base + path, auth=auth)
        except httpx.HTTPError as error:
            _refuse_bad_tls(error, base)
            raise ConnectUnavailable(f"{base} does not answer: {_why(error)}", hint=_ASK) from error
        return response.status_code, response.content

    def _once(self, method: str, path: str, query: Mapping[str, str] | None, body: Any, *, again: bool) -> Any:
        refusals: dict[str, str] = {}
        while True:
            base, auth = self._bases[self._at % len(self._bases)]
            try:
                response = self._http.request(
                    method,
                    base + path,
                    params=query,
                    content=None if body is None else json.dumps(body),
                    headers={} if body is None else {"Content-Type": "application/json"},
                    auth=auth,
                )
                return judge(response.status_code, response.content, f"{method} {base}{path}", again=again)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                _refuse_bad_tls(error, base)
                refusals[base] = _why(error)
                self._at += 1
                if len(refusals) == len({base for base, _ in self._bases}):
                    told = "; ".join(f"{base}: {why}" for base, why in refusals.items())
                    raise NotNow(f"no Kafka Connect worker takes a connection: {told}", hint=_ASK) from error
            except NotNow:
                self._at += 1
                raise
            except httpx.HTTPError as error:
                _refuse_bad_tls(error, base)
                self._at += 1
                kind = NotNow if again else ConnectUnavailable
                raise kind(
                    f"{base} did not answer {method} {path}: {_why(error)}; whether it was done is not known",
                    hint="see what there is with: cdc connectors list",
                ) from error


def _split(url: str, address: Address) -> tuple[str, httpx.BasicAuth | None]:
    """A URL without what is secret in it, and the credentials for it."""
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        well = well and not (parts.query or parts.fragment)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        well, user, password = False, "", ""
    if not well:
        raise ConfigError("a URL of Kafka Connect must look like http://HOST:8083 or https://HOST:8083", hint=_ASK)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    if address.username is not None:
        user, password = address.username, address.password or ""
    return plain, httpx.BasicAuth(user, password) if user and not address.bearer_token else None


def _authorization(address: Address) -> dict[str, str]:
    headers = dict(address.headers)
    if address.bearer_token:
        headers["Authorization"] = f"Bearer {address.bearer_token}"
    return headers


def _tls(address: Address) -> ssl.SSLContext | bool:
    if not any(url.startswith("https:") for url in address.urls):
        return False  # loading all the system's CAs takes longer than most commands
    if not address.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif address.ca or address.cert:
        context = _trust(address.ca)
    else:
        return True
    if address.cert:
        try:
            context.load_cert_chain(address.cert, address.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the client certificate {address.cert} and its key cannot be used: {_why(error)}",
                hint="both in PEM form; the key without a passphrase, in --key or in the same file",
            ) from error
    return context


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the CA file {ca} cannot be used: {_why(error)}", hint="a file in PEM form") from error


def _refuse_bad_tls(error: Exception, base: str) -> None:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        raise ConnectAccessDenied(
            f"the certificate of {base} is not trusted: {_why(error)}",
            hint="--ca FILE names the CA that signed it; the URL's host must stand in it",
        ) from error
    if any(word in text.upper() for word in ("CERTIFICATE_REQUIRED", "CERTIFICATE REQUIRED", "ALERT_", "ALERT ")):
        raise ConnectAccessDenied(
            f"{base} refused the TLS connection: {_why(error)}",
            hint="--cert and --key name the client certificate it wants",
        ) from error
    if "WRONG_VERSION_NUMBER" in text:
        raise ConfigError(f"{base} does not speak TLS", hint="write http:// instead of https://") from error


def _why(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _in_process(answering: Answering) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode()
        status, headers, body = answering(request.method, target, dict(request.headers), request.content)
        return httpx.Response(status, headers=dict(headers), content=body)

    return handle
