"""The whole configuration, and what the parts make together: table specs and routers.

Routes are for all sources; a rule is made once per table, because the envelope and the
headers of its records may be the table's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from cdc.envelopes.cloudevents import CloudEvents
from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.debezium import Debezium
from cdc.envelopes.plain import Plain
from cdc.errors import ConfigError
from cdc.model import TableSpec, Topics
from cdc.mysql.snapshot import SnapshotTable
from cdc.routing import templates
from cdc.routing.headers import HeaderRules
from cdc.routing.names import TopicNames
from cdc.routing.router import RuleRouter
from cdc.routing.rules import Envelope, OutboxTable
from cdc.settings.http import HttpSettings
from cdc.settings.kafka import KafkaSettings, TopicsSettings
from cdc.settings.routes import Policy, RecordSettings, RouteSettings
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
    unrouted: Literal["pass", "stop", "dead_letter", "skip"] = Field(
        default="pass", description="Rows that no route matches"
    )
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

    def tables(self) -> Iterator[tuple[str, str, TableSettings]]:
        """Every table with its source's name and its own."""
        for name, source in self.sources.items():
            for full, table in source.tables.items():
                yield name, full, table

    def table_specs(self, name: str, *, updates: bool = False) -> tuple[TableSpec, ...]:
        """The tables of a source, with the columns that its layouts need and that routes name.

        With `updates` rows that an UPDATE changed come, too, from tables that ask for it: only a router knows them.
        Where all of the configuration is about one table, a column that a route names must be in it.
        """
        named = {column for route in self.routes for _, column in route.names()}
        only = sum(len(source.tables) for source in self.sources.values()) == 1
        return tuple(
            self._spec(
                table, table.as_layout().table_spec(*split_table(full), names=named, strict=only), updates=updates
            )
            for full, table in self.source(name).tables.items()
        )

    def _spec(self, table: TableSettings, spec: TableSpec, *, updates: bool) -> TableSpec:
        """With what the table's own options name; a name that nothing looks at need not be there."""
        options = table.router_options()
        layout = table.as_layout()
        own = frozenset(table.headers.names() if table.headers else [])
        looked_at = table.envelope_name != "debezium" or any(
            route.match.event_name or route.envelope not in {None, "debezium"} for route in self.routes
        )
        unneeded = frozenset() if looked_at else frozenset(layout.columns[role] for role in layout.optional)
        needed = (spec.needed - unneeded) | options.needed() | own
        wanted = None if spec.wanted is None else spec.wanted | needed | options.wanted()
        return replace(spec, needed=needed, wanted=wanted, updates=updates and options.on_update is not None)

    def snapshot_tables(self, name: str) -> tuple[SnapshotTable, ...]:
        """The tables of a source as a snapshot reads them: ids of layout native say their order, others' need not."""
        layouts = [table.as_layout() for table in self.source(name).tables.values()]
        return tuple(
            SnapshotTable(
                spec,
                None if layout.name == "native" else layout.columns.get("timestamp"),
                layout.published,
                layout.given_up,
            )
            for spec, layout in zip(self.table_specs(name), layouts, strict=True)
        )

    def needed_topics(self) -> tuple[str, ...]:
        """Topics that routes name as they are, where a row without its topic would stop the source."""
        fixed = (
            template.head
            for route in self.routes
            if route.topic is not None and route.on_error == "stop" and (template := templates.parse(route.topic)).fixed
        )
        return tuple(dict.fromkeys(fixed))

    def parks(self) -> bool:
        """May any row become a dead letter?"""
        return "dead_letter" in {self.on_error, self.unrouted, *(route.on_error for route in self.routes)}

    def topic_names(self) -> TopicNames:
        """The judge of topic names."""
        return TopicNames(self.kafka.prefix, self.topics.allow)

    def router_for(self, name: str, topics: Topics) -> RuleRouter:
        """A new router for one source; `router.dropped_headers` counts headers of rows that bore a name of ours."""
        dropped: Counter[str] = Counter()
        tables = {
            split_table(full): self._outbox(name, table, dropped) for full, table in self.source(name).tables.items()
        }
        return RuleRouter(
            tables,
            topics,
            self.topic_names(),
            unrouted=self.unrouted,
            on_error=self.on_error,
            dropped_headers=dropped,
        )

    def _outbox(self, source: str, table: TableSettings, dropped: Counter[str]) -> OutboxTable:
        options = table.router_options()

        def envelope(route: RecordSettings) -> Envelope:
            headers = route.headers or table.headers
            name = route.envelope or table.envelope_name
            if name == "debezium":
                return Debezium(options, headers=headers is None or headers.word == "all")
            wishes: dict[str, Any] = {
                "headers": headers is None or headers.word == "all",
                "created_at": (route.timestamp or table.timestamp) == "created_at",
                "inflate": (route.inflate or table.inflate) is not None,
                "dropped": dropped,
            }
            if name == "cloudevents":
                return CloudEvents(source_name=source, source=route.ce_source or table.ce_source, **wishes)
            return _ENVELOPES[name](**wishes)

        def headers(route: RecordSettings) -> HeaderRules | None:
            said = route.headers or table.headers
            return None if said is None else said.as_rules()

        return OutboxTable(
            table.as_layout(),
            envelope(table),
            tuple(route.as_rule(envelope(route), headers(route)) for route in self.routes),
            headers=headers(table),
            rewrite=options.rewrite if table.layout == "debezium" else None,
            on_update=options.on_update,
        )
