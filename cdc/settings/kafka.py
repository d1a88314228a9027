"""`kafka:` and `topics:`, the cluster and what we may do there.

Environments that share a cluster must differ in `prefix`, or they fence each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from cdc.settings.quantities import CommaList, ReadableFile, SecretFile, read_secret
from cdc.settings.section import Section

if TYPE_CHECKING:
    from cdc.kafka.client import KafkaAddress

_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:,/@\[\]]+):(\d{1,5})")
_PREFIX = re.compile(r"[a-z][a-z0-9_-]{0,30}")


def _servers(servers: list[str]) -> list[str]:
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[1]) < 1 << 16:
            raise ValueError("holds something that is no server: write host:port, such as kafka:9092")
    if not servers:
        raise ValueError("needs at least one server, such as kafka:9092")
    return servers


def _prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("must be a small letter, then up to 30 small letters, digits, - or _")
    return prefix


class SecuritySettings(Section):
    """How we get in."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Encryption and login, as the brokers' listener has them"
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="Of the SASL login"
    )
    username: str | None = Field(default=None, description="Of the SASL login")
    password: SecretStr | None = Field(default=None, description="Better in password_file or the environment")
    password_file: SecretFile | None = Field(default=None, description="File that holds the password")
    ca: ReadableFile | None = Field(
        default=None, description="PEM file of the authority that signed the brokers' certificates"
    )
    cert: ReadableFile | None = Field(default=None, description="PEM file of our certificate")
    key: ReadableFile | None = Field(default=None, description="PEM file of our certificate's key")

    @model_validator(mode="after")
    def _fits(self) -> SecuritySettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("has a password in password and in password_file: keep one")
        login = {
            "mechanism": self.mechanism,
            "username": self.username,
            "password": self.password or self.password_file,
        }
        if self.protocol.startswith("SASL"):
            missing = [name for name, value in login.items() if value is None]
            if missing:
                raise ValueError(f"lacks {', '.join(missing)}, which protocol {self.protocol} needs")
        elif said := [name for name, value in login.items() if value is not None]:
            raise ValueError(f"has {', '.join(said)}, which protocol {self.protocol} does not use: SASL_SSL does")
        if not self.protocol.endswith("SSL") and (self.ca or self.cert or self.key):
            raise ValueError(f"has TLS files, which protocol {self.protocol} does not use: SSL or SASL_SSL does")
        if (self.cert is None) is not (self.key is None):
            raise ValueError("needs both cert and key, or none of them")
        return self


class KafkaSettings(Section):
    """The cluster."""

    bootstrap_servers: Annotated[CommaList, AfterValidator(_servers)] = Field(
        description="a list of host:port, such as [kafka:9092]"
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="cdc", description="Our own topics' names begin with it"
    )
    security: SecuritySettings = Field(default_factory=SecuritySettings, description="How we get in")
    compression: Literal["none", "zstd"] = Field(default="none", description="Of the records' batches")
    on_partition_change: Literal["warn", "stop"] = Field(
        default="warn",
        description="A topic gets more partitions while we run, so keys move: say so and go on, or stop before they do",
    )

    def address(self) -> KafkaAddress:
        """The cluster as cdc.kafka takes it; reads the password file anew."""
        from cdc.kafka.client import KafkaAddress  # noqa: PLC0415 - checking a configuration needs no Kafka client

        security = self.security
        return KafkaAddress(
            bootstrap_servers=tuple(self.bootstrap_servers),
            protocol=security.protocol,
            mechanism=security.mechanism,
            username=security.username,
            password=read_secret(security.password, security.password_file),
            ca=security.ca,
            cert=security.cert,
            key=security.key,
        )


class TopicsSettings(Section):
    """Which topics we may create, and which rows may address."""

    create: Literal["own", "none", "all"] = Field(
        default="own",
        description="own: our own topics (checkpoints, dead letters) are made where they are missing; all: topics of "
        "events, too",
    )
    partitions: Annotated[int, Field(ge=1)] = Field(
        default=6, description="Of the topics of events that we make (our own have one)"
    )
    replication_factor: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Of the topics that we make; the broker's default where nothing is said"
    )
    allow: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=list, description="Globs; where there are any, rows may address only topics that match one"
    )
