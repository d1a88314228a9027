"""The whole configuration, and what the parts make together: table specs and routers.

Routes are for all sources; a rule is made once per table, because the envelope and the
headers of its records may be the table's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.plain import Plain
from cdc.errors import ConfigError
from cdc.model import TableSpec, Topics
from cdc.routing.names import TopicNames
from cdc.routing.rules import Envelope, OutboxTable, RuleRouter
from cdc.settings.http import HttpSettings
from cdc.settings.kafka import KafkaSettings, TopicsSettings
from cdc.settings.routes import Policy, RouteSettings
from cdc.settings.section import Section
from cdc.settings.service import ServiceSettings
from cdc.settings.sources import SourceName, SourceSettings, TableSettings, split_table

_ENVELOPES: Mapping[str, type[Plain | Cqrs]] = {"plain": Plain, "cqrs": Cqrs}


class Settings(Section):
    """Everything `cdc.yaml` says."""

    sources: dict[SourceName, SourceSettings] = Field(
        min_length=1, description="the databases, by a name that stays: {shop: {url: ..., tables: ..., start: ...}}"
    )
    kafka: KafkaSettings = Field(description="the cluster, such as {bootstrap_servers: [kafka:9092]}")
    routes: list[RouteSettings] = Field(default_factory=list, description="First match wins")
    unrouted: Literal["pass", "stop", "skip"] = Field(default="pass", description="Rows that no route matches")
    on_error: Policy = Field(default="stop", description="Rows without a route that cannot become a record")
    topics: TopicsSettings = Field(default_factory=TopicsSettings, description="Topics of the cluster")
    http: HttpSettings = Field(default_factory=HttpSettings, description="Health, metrics and status")
    service: ServiceSettings = Field(default_factory=ServiceSettings, description="This process")

    def source(self, name: str) -> SourceSettings:
        """A source by its name. Raises ConfigError."""
        try:
            return self.sources[name]
        except KeyError:
            known = ", ".join(sorted(self.sources))
            raise ConfigError(f"there is no source {name!r}", hint=f"Configured are: {known}.") from None

    def table_specs(self, name: str) -> tuple[TableSpec, ...]:
        """The tables of a source, with the columns that its layouts need and that routes name.

        Where all of the configuration is about one table, a column that a route names must be in it.
        """
        named = {column for route in self.routes for _, column in route.names()}
        only = sum(len(source.tables) for source in self.sources.values()) == 1
        return tuple(
            table.as_layout().table_spec(*split_table(full), names=named, strict=only)
            for full, table in self.source(name).tables.items()
        )

    def topic_names(self) -> TopicNames:
        """The judge of topic names."""
        return TopicNames(self.kafka.prefix, self.topics.allow)

    def router_for(self, name: str, topics: Topics) -> RuleRouter:
        """A new router for one source; `router.dropped_headers` counts headers of rows that bore a name of ours."""
        dropped: Counter[str] = Counter()
        tables = {split_table(full): self._outbox(table, dropped) for full, table in self.source(name).tables.items()}
        return RuleRouter(
            tables,
            topics,
            self.topic_names(),
            unrouted=self.unrouted,
            on_error=self.on_error,
            dropped_headers=dropped,
        )

    def _outbox(self, table: TableSettings, dropped: Counter[str]) -> OutboxTable:
        def envelope(name: str | None, headers: str | None) -> Envelope:
            made = _ENVELOPES[name or table.default_envelope()]
            return made(headers=(headers or table.headers) != "none", dropped=dropped)

        rules = tuple(route.as_rule(envelope(route.envelope, route.headers)) for route in self.routes)
        return OutboxTable(table.as_layout(), envelope(None, None), rules)
