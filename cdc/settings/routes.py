"""`routes:`, the rules from row to record, and what they become: `cdc.routing.rules.Rule`.

A text that cdc.routing cannot read (a template, a key) is refused here, at its place.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cdc.routing import keys, templates
from cdc.routing.headers import HeaderRules
from cdc.routing.rules import Envelope, Rule
from cdc.settings.headers import Headers
from cdc.settings.section import Section

Glob = Annotated[str, StringConstraints(min_length=1)]
Policy = Literal["stop", "dead_letter", "skip"]


def _template(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: leave it out to keep the row's topic")
    templates.parse(text)
    return text


def _key(text: str) -> str:
    keys.parse(text)
    return text


def _column(name: str) -> str:
    if keys.parse(name).column != name:
        raise ValueError("must be the name of a column")
    return name


EnvelopeName = Literal["plain", "debezium", "cqrs", "cloudevents"]
Uri = Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]


class RecordSettings(Section):
    """What routes and tables say alike; a route's word wins over its row's table."""

    envelope: EnvelopeName | None = Field(
        default=None, description="Header and value convention of the records; the layout's where nothing is said"
    )
    headers: Headers | None = Field(
        default=None, description="none: records without any; or what to drop, rename and add"
    )
    timestamp: Literal["publish", "created_at"] | None = Field(
        default=None, description="The record's time: when it is published, or the row's (never later than now)"
    )
    ce_source: Uri | None = Field(
        default=None, description="For envelope cloudevents; /cdc/<source>/<schema>.<table> where nothing is said"
    )
    inflate: Literal["zlib"] | None = Field(default=None, description="zlib: unpack payloads that are zlib")


class MatchSettings(Section):
    """Globs: * any text, ? one character. What is not said matches everything."""

    event_name: Glob | None = Field(default=None, description="Glob of the event's name")
    topic: Glob | None = Field(default=None, description="Glob of the row's topic")


class RouteSettings(RecordSettings):
    """One rule; the first that matches a row decides."""

    match: MatchSettings = Field(default_factory=MatchSettings, description="Which rows; all where nothing is said")
    topic: Annotated[str, AfterValidator(_template)] | None = Field(
        default=None, description="Where to: a template such as {topic}.v1; the row's topic where nothing is said"
    )
    key: Annotated[str, AfterValidator(_key)] | None = Field(
        default=None, description="Column, or JSON path into the payload ($.a.b[0]), where the row has no key"
    )
    key_missing: Literal["error"] | None = Field(
        default="error", description="error: a row whose key is not found follows on_error; null: it goes without a key"
    )
    partition: Annotated[str, AfterValidator(_column)] | None = Field(
        default=None, description="Integer column with the number of the partition; where it is NULL the key decides"
    )
    on_error: Policy = Field(default="stop", description="What happens with a row that cannot become a record")

    @model_validator(mode="after")
    def _fits(self) -> RouteSettings:
        if self.key_missing is None and self.key is None:
            raise ValueError("has key_missing without key: say where the key comes from")
        return self

    def names(self) -> list[tuple[str, str]]:
        """The option and the name, for every name of a row's column in it."""
        named = [("topic", name) for name in templates.parse(self.topic).names] if self.topic else []
        if self.key and (column := keys.parse(self.key).column):
            named.append(("key", column))
        if self.partition:
            named.append(("partition", self.partition))
        return [*named, *(("headers", name) for name in (self.headers.names() if self.headers else []))]

    def as_rule(self, envelope: Envelope | None = None, headers: HeaderRules | None = None) -> Rule:
        """The same as a plain value."""
        return Rule(
            event_name=self.match.event_name,
            topic=self.match.topic,
            to=templates.parse(self.topic) if self.topic else None,
            key=keys.parse(self.key) if self.key else None,
            key_required=self.key_missing is not None,
            partition=self.partition,
            headers=headers,
            envelope=envelope,
            on_error=self.on_error,
        )
