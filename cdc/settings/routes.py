"""`routes:`, the rules from row to record, and what they become: `cdc.routing.rules.Rule`.

A text that cdc.routing cannot read (a template, a key) is refused here, at its place.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cdc.routing import keys, templates
from cdc.routing.rules import Envelope, Rule
from cdc.settings.section import Section

Glob = Annotated[str, StringConstraints(min_length=1)]
Policy = Literal["stop", "skip"]


def _template(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: leave it out to keep the row's topic")
    templates.parse(text)
    return text


def _key(text: str) -> str:
    keys.parse(text)
    return text


class MatchSettings(Section):
    """Globs: * any text, ? one character. What is not said matches everything."""

    event_name: Glob | None = Field(default=None, description="Glob of the event's name")
    topic: Glob | None = Field(default=None, description="Glob of the row's topic")


class RouteSettings(Section):
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
    envelope: Literal["plain", "cqrs"] | None = Field(default=None, description="The table's where nothing is said")
    headers: Literal["all", "none"] | None = Field(default=None, description="none sends records without any header")
    timestamp: Literal["publish"] = Field(default="publish", description="The record's time")
    on_error: Policy = Field(default="stop", description="What happens with a row that cannot become a record")

    @model_validator(mode="after")
    def _fits(self) -> RouteSettings:
        if self.key_missing is None and self.key is None:
            raise ValueError("has key_missing without key: say where the key comes from")
        return self

    def names(self) -> list[tuple[str, str]]:
        """The option and the name, for every name of a row's column in it."""
        named = [("topic", name) for name in templates.parse(self.topic).names] if self.topic else []
        column = keys.parse(self.key).column if self.key else ""
        return [*named, ("key", column)] if column else named

    def as_rule(self, envelope: Envelope | None = None) -> Rule:
        """The same as a plain value."""
        return Rule(
            event_name=self.match.event_name,
            topic=self.match.topic,
            to=templates.parse(self.topic) if self.topic else None,
            key=keys.parse(self.key) if self.key else None,
            key_required=self.key_missing is not None,
            envelope=envelope,
            on_error=self.on_error,
        )
