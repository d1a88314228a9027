"""Where a server is and how to log in: plain values, and the TLS context made of them.

TLS: with any of `tls`, `ca` or `cert` the connection must be encrypted, and a server that
offers no TLS is refused. `verify` says how much of the server's certificate is believed:
True its chain and its name, "ca" the chain only (a MySQL server's own certificate
names no host), False nothing. Without any of them TLS is used where the server offers
it, unverified, which is what MySQL's own clients do.

The password is kept out of `repr`; nothing here or elsewhere may put it into a message.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

from cdc.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One MySQL or MariaDB server, and a user on it. Seconds for times."""

    host: str
    port: int = 3306
    user: str = "cdc"
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool | Literal["ca"] = True
    connect_timeout: float = 10.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def demands_tls(self) -> bool:
        """Must the connection be encrypted?"""
        return bool(self.tls or self.ca or self.cert)

    def connect_arguments(self) -> dict[str, Any]:
        """What `pymysql.connect` takes; a new dictionary each time, for some callees write into theirs."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "connect_timeout": self.connect_timeout,
            "charset": "utf8mb4",
            "autocommit": True,
        }
        if self.demands_tls:
            arguments["ssl"] = self._tls_context()
        return arguments

    def _tls_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, (self.ca, self.cert, self.key)))
            raise ConfigError(
                f"the TLS files for {self} cannot be used ({files}): {error}",
                hint="tls.ca, tls.cert and tls.key are PEM files that this user can read; the key belongs to the cert",
            ) from error
        # Servers make their own certificates without the extensions that the strict check asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.verify is True
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        return context
