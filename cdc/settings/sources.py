"""`sources:`, the databases: where each is, which tables are outboxes, where a first start begins.

A name is the checkpoint's key and part of the transactional id: renaming a source loses
its place. The password may stand in the URL, in `password`, in `password_file` or in
CDC_SOURCES__<NAME>__PASSWORD, but only in one of them (the environment wins).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from cdc.envelopes.router_options import RouterOptions, parse, text_of
from cdc.mysql.address import ServerAddress
from cdc.routing.layouts import LAYOUTS, REQUIRED_ROLES, ROLES, Layout
from cdc.settings.quantities import MASK, Duration, ReadableFile, SecretFile, Size, read_secret
from cdc.settings.routes import RecordSettings
from cdc.settings.section import Section

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_TABLE = re.compile(r"(?:`([^`]+)`|([^.`\s]+))\.(?:`([^`]+)`|([^.`\s]+))")
_DEFAULT_PORT = 3306
_SMALLEST_BUDGET = 1 << 20

_ROUTER_ROLES = {
    "table.field.event.id": "id",
    "table.field.event.key": "key",
    "table.field.event.type": "name",
    "table.field.event.payload": "payload",
    "route.by.field": "topic",
}
"""Options of the Event Router that say which column plays a role."""

Role = Literal["id", "name", "topic", "key", "payload", "headers", "content_type", "timestamp"]
Start = Literal["snapshot", "earliest", "latest"]


def _source_name(name: str) -> str:
    if not _NAME.fullmatch(name) or "__" in name:
        raise ValueError(
            "is no name for a source: a small letter, then up to 40 small letters, digits, - or _, and no __"
        )
    return name


def split_table(name: str) -> tuple[str, str]:
    """`shop.outbox` to schema and table; names with dots stand in backticks."""
    match = _TABLE.fullmatch(name)
    if match is None:
        raise ValueError("is no table: write schema.table, with backticks around a name that holds a dot")
    return match[1] or match[2], match[3] or match[4]


def _table_name(name: str) -> str:
    split_table(name)
    return name


def _server_url(url: str) -> str:
    """A URL that holds a server, and nothing that would be ignored. Never shown: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port, parts = -1, None
    if parts is None or parts.scheme not in {"mysql", "mariadb"} or not parts.hostname or port in {-1, 0}:
        raise ValueError("must look like mysql://user@host:3306 (special characters in it as %XX)")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end behind the port: tables are named under `tables`, options beside `url`")
    return url


def mask_url(url: str) -> str:
    """The URL with its password masked."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    head, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{head.partition(':')[0]}:{MASK}@{host}").geturl()


def _budget(size: int) -> int:
    if size < _SMALLEST_BUDGET:
        raise ValueError("must be 1MiB at least")
    return size


SourceName = Annotated[str, AfterValidator(_source_name)]
TableName = Annotated[str, AfterValidator(_table_name)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]


class TlsSettings(Section):
    """Encryption of the connection to the server; the section alone, even empty, demands it."""

    ca: ReadableFile | None = Field(
        default=None, description="PEM file of the authority that signed the server's certificate"
    )
    cert: ReadableFile | None = Field(default=None, description="PEM file of our certificate")
    key: ReadableFile | None = Field(default=None, description="PEM file of our certificate's key")
    verify: Literal[True, False, "ca"] = Field(
        default=True, description="What to believe: true chain and host name, ca the chain only, false anything"
    )


class TableSettings(RecordSettings):
    """One outbox table: a layout, or which column plays which role, and defaults for its records."""

    layout: Literal["native", "debezium", "cqrs"] | None = Field(
        default=None, description="Column convention; native where nothing is said"
    )
    columns: dict[Role, Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=dict, description="Role to column: for tables of any other form, or to change single roles"
    )
    router: dict[str, str | bool | int] = Field(
        default_factory=dict,
        description="For layout debezium: options of Debezium's Outbox Event Router and of its converters, as there",
    )

    @model_validator(mode="after")
    def _complete(self) -> TableSettings:
        missing = [role for role in REQUIRED_ROLES if role not in self.as_layout().columns]
        if missing:
            raise ValueError(f"columns lacks {', '.join(missing)} (roles: {', '.join(ROLES)})")
        return self

    def as_layout(self) -> Layout:
        """The column map that `layout` and `columns` make together."""
        base = LAYOUTS[self.layout or "native"] if self.layout or not self.columns else Layout("columns", {})
        router = {role: text_of(self.router[option]) for option, role in _ROUTER_ROLES.items() if option in self.router}
        columns = {**base.columns, **{str(role): column for role, column in self.columns.items()}, **router}
        optional = base.optional - router.keys()
        return replace(base, name="columns" if self.columns else base.name, columns=columns, optional=optional)

    @property
    def envelope_name(self) -> str:
        """The envelope where no route names one."""
        return self.envelope or ("plain" if self.layout in {None, "native"} else str(self.layout))

    def router_options(self) -> RouterOptions:
        """`router:` as plain values. Raises BadOptions."""
        return parse(self.router)


class SourceSettings(Section):
    """One MySQL or MariaDB server and the outbox tables in it that one process moves."""

    url: ServerUrl | None = Field(
        default=None, repr=False, description="mysql://user@host:port, instead of host, port and user"
    )
    host: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Host name or address"
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(default=None, description="3306 where nothing is said")
    user: str | None = Field(default=None, description="cdc where nothing is said")
    password: SecretStr | None = Field(default=None, description="Better in password_file or the environment")
    password_file: SecretFile | None = Field(default=None, description="File that holds the password")
    tls: TlsSettings | None = Field(default=None, description="Encryption; without it, TLS where the server offers it")
    tables: dict[TableName, TableSettings] = Field(
        min_length=1, description="the outbox tables, such as {shop.outbox: {layout: native}}"
    )
    start: Start | None = Field(
        default=None,
        description="Where a first start begins: snapshot (the rows in the tables, then the log), earliest (all the "
        "log still has) or latest (from now on). snapshot where all tables are of layout native, else it must be said",
    )
    server_id: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = Field(
        default=None,
        description="Our id as a replica; must differ from every other's. Chosen by itself where nothing is said",
    )
    statements_allowed_in: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=list,
        description="Schemas whose data may be changed by statements in text form; elsewhere such a statement stops",
    )
    memory_budget: Annotated[Size, AfterValidator(_budget)] = Field(
        default=64 << 20,
        description="Memory for rows on their way. A transaction over an eighth of it goes to Kafka in pieces, inside "
        "one Kafka transaction that stays open",
    )
    max_row_bytes: Size | None = Field(
        default=None, description="A row with more bytes in the log stops the source; without it no row is too large"
    )
    takeover_after: Duration = Field(
        default=15.0, description="A standby takes over after so long without a sign of life"
    )

    @model_validator(mode="after")
    def _one_way_each(self) -> SourceSettings:
        if (self.url is None) is (self.host is None):
            raise ValueError("needs one of url and host" if self.url is None else "has url and host: keep one")
        if self.url is not None and (self.port is not None or self.user is not None):
            raise ValueError("has url beside port or user: write them into the URL")
        in_url = self.url is not None and urlsplit(self.url).password is not None
        ways = [("password", self.password), ("password_file", self.password_file), ("url", in_url or None)]
        said = [name for name, value in ways if value is not None]
        if len(said) > 1:
            raise ValueError(f"has a password in {' and in '.join(said)}: keep one")
        return self

    @model_validator(mode="after")
    def _start_is_known(self) -> SourceSettings:
        others = [name for name, table in self.tables.items() if table.as_layout().name != "native"]
        if self.start is None and others:
            raise ValueError(
                f"lacks start: {', '.join(others)} may hold rows that are published already, so say where a first "
                "start begins: snapshot (the rows in the tables, then the log), earliest (all the log still has) or "
                "latest (from now on)"
            )
        return self

    @property
    def first_start(self) -> Start:
        """Where a first start begins."""
        return self.start or "snapshot"

    @property
    def address(self) -> ServerAddress:
        """The server as cdc.mysql takes it; reads the password file anew."""
        parts = urlsplit(self.url or "")
        password = read_secret(self.password, self.password_file) or unquote(parts.password or "")
        tls = self.tls or TlsSettings()
        return ServerAddress(
            host=self.host or parts.hostname or "",
            port=self.port or parts.port or _DEFAULT_PORT,
            user=self.user or unquote(parts.username or "") or "cdc",
            password=password,
            tls=self.tls is not None,
            ca=tls.ca,
            cert=tls.cert,
            key=tls.key,
            verify=tls.verify,
        )
