"""`cdc topics plan|apply`: what the cluster's topics shall be like, and the steps from what is there. Never deletes.

What shall be there comes from three places: the configuration (a checkpoint topic for each source, the
dead-letter topic), its routes (topics that a route names as they are; templates such as `{topic}.v1` only rows
can fill), and a file of shapes. `steps` is pure: what is wanted, and what is there.

What a plan never does, and says instead (`Step.why_not`):

* fewer partitions, other replication: Kafka cannot, or only by moving data
* more partitions, unless asked: keys move to other partitions, and with them their order
* a checkpoint topic where Kafka knows the source's transactional id: it was lost, and an empty one would
  look like a first start (DESIGN 4.3)
* compaction for a checkpoint topic that somebody else has made
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc.errors import CdcError
from cdc.kafka.checkpoints import Names
from cdc.kafka.dead_letters import topic_of
from cdc.kafka.first_start import SETTINGS as CHECKPOINT_SETTINGS
from cdc.kafka.topic_admin import TopicAdmin, TopicState
from cdc.outbox.row import DEFAULT_MAX_BYTES
from cdc.routing import templates
from cdc.settings import Settings
from cdc.settings.topics_file import TopicsFile

DEAD_LETTERS_WHEN_NEW = {"retention.ms": "-1", "retention.bytes": "-1"}
"""Kept until somebody has decided, unless the file plans otherwise."""
OVERHEAD = 4096
"""Room for the key and headers of the largest payload."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a topic shall be like. What is None or not there is not compared."""

    topic: str
    kind: str
    partitions: int | None = None
    replication_factor: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    least_message: int = 0
    """max.message.bytes must be as large as this."""
    when_new: Mapping[str, str] = field(default_factory=dict)
    """Settings of a new topic that are not compared."""
    lost: str | None = None
    """Why it must not be made or turned into ours, where it is not there or not ours."""


@dataclass(frozen=True, slots=True)
class Step:
    """One difference. `why_not` says why it is not done by `apply`; what None."""

    topic: str
    kind: str
    what: str
    now: str | None
    wanted: str
    why_not: str | None = None

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        return {
            "topic": self.topic,
            "kind": self.kind,
            "what": self.what,
            "now": self.now,
            "wanted": self.wanted,
            "why_not": self.why_not,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All differences, and what is worth knowing beside them."""

    wanted: Sequence[Wanted]
    steps: Sequence[Step]
    notes: Sequence[str] = ()

    @property
    def doable(self) -> list[Step]:
        """What `apply` does."""
        return [step for step in self.steps if step.why_not is None]

    @property
    def problems(self) -> list[Step]:
        """What a person must decide."""
        return [step for step in self.steps if step.why_not is not None]


# -- what shall be there --------------------------------------------------------------------------


def wanted_topics(settings: Settings, file: TopicsFile, known: Mapping[str, bool]) -> tuple[list[Wanted], list[str]]:
    """All that configuration and file want, and notes. `known`: sources whose checkpoint topic was lost."""
    fixed, notes = _routed(settings)
    events = [_events(topic, settings, file) for topic in dict.fromkeys([*file.topics, *fixed])]
    copies = max((one.replication_factor or 0 for one in events), default=0) or settings.topics.replication_factor
    prefix = settings.kafka.prefix
    own = []
    for source in settings.sources:
        names = Names(prefix, source)
        shape = file.checkpoints
        lost = (
            f"Kafka knows transactional id {names.transactional_id}: there was a checkpoint, and it is lost. "
            f"cdc checkpoint set -c FILE --source {source} --to POSITION is the way out"
        )
        own.append(
            Wanted(
                names.topic,
                "checkpoint",
                1,
                shape.replication_factor or copies,
                {**shape.settings, **CHECKPOINT_SETTINGS},
                lost=lost if known.get(source) else None,
            )
        )
    shape = file.dead_letters
    own.append(
        Wanted(
            topic_of(prefix),
            "dead letters",
            1,
            shape.replication_factor or copies,
            {**shape.settings, "cleanup.policy": "delete"},
            when_new=DEAD_LETTERS_WHEN_NEW,
        )
    )
    return [*own, *events], notes


def _routed(settings: Settings) -> tuple[list[str], list[str]]:
    """The topics that routes name, and notes on what only rows can tell."""
    fixed, notes = [], []
    for at, route in enumerate(settings.routes):
        template = templates.parse(route.topic) if route.topic is not None else None
        if template is not None and template.fixed:
            fixed.append(template.head)
        elif template is not None:
            notes.append(f"routes[{at}] leads to {route.topic}: only rows tell which topics these are")
    if not settings.routes or settings.unrouted == "pass":
        notes.append("rows that no route matches go to their own topic: name those topics in the file of -f")
    return fixed, notes


def _events(topic: str, settings: Settings, file: TopicsFile) -> Wanted:
    shape = file.shape(topic)
    largest = DEFAULT_MAX_BYTES if file.largest_payload is None else file.largest_payload + OVERHEAD
    return Wanted(
        topic,
        "events",
        shape.partitions,
        shape.replication_factor or settings.topics.replication_factor,
        shape.settings,
        least_message=largest,
    )


# -- the steps ------------------------------------------------------------------------------------


def steps(
    wanted: Iterable[Wanted], there: Mapping[str, TopicState], *, partitions: int, grow: bool = False
) -> list[Step]:
    """The differences. `partitions` is for a new topic that says nothing."""
    found: list[Step] = []
    for one in wanted:
        state = there.get(one.topic)
        if state is None:
            found.append(_creation(one, partitions))
        else:
            found += _differences(one, state, grow=grow)
    return found


def creation_settings(wanted: Wanted) -> dict[str, str]:
    """The settings of a new topic: what is wanted, with room for the largest event."""
    settings = {**wanted.when_new, **wanted.settings}
    said = settings.get("max.message.bytes", "")
    if wanted.least_message > (int(said) if said.isdigit() else _KAFKAS_LARGEST):
        settings["max.message.bytes"] = str(wanted.least_message)
    return settings


_KAFKAS_LARGEST = 1_048_588
"""Kafka's own default of max.message.bytes."""


def _creation(one: Wanted, partitions: int) -> Step:
    parts = [f"partitions={one.partitions or partitions}"]
    if one.replication_factor:
        parts.append(f"replication_factor={one.replication_factor}")
    parts += [f"{name}={value}" for name, value in sorted(creation_settings(one).items())]
    return Step(one.topic, one.kind, "create", None, " ".join(parts), one.lost)


def _differences(one: Wanted, state: TopicState, *, grow: bool) -> list[Step]:
    def step(what: str, now: object, wanted: object, why_not: str | None = None) -> Step:
        return Step(one.topic, one.kind, what, str(now), str(wanted), why_not)

    found = []
    if one.partitions is not None and one.partitions != state.partitions:
        found.append(step("partitions", state.partitions, one.partitions, _no_partitions(one, state, grow=grow)))
    if one.replication_factor is not None and state.replication_factor < one.replication_factor:
        why = "copies are added by kafka-reassign-partitions.sh: data moves"
        found.append(step("replication_factor", state.replication_factor, one.replication_factor, why))
    for name, value in sorted(one.settings.items()):
        now = state.settings.get(name)
        if now is not None and now != value:
            found.append(step(name, now, value, _no_setting(one, name)))
    largest = state.settings.get("max.message.bytes", "")
    said = one.settings.get("max.message.bytes", "")
    will_be = said if said.isdigit() else largest
    if will_be.isdigit() and int(will_be) < one.least_message:
        found = [s for s in found if s.what != "max.message.bytes"]
        found.append(step("max.message.bytes", largest, one.least_message))
    in_sync, copies = one.settings.get("min.insync.replicas", ""), state.replication_factor
    if in_sync.isdigit() and int(in_sync) > copies:
        found = [s for s in found if s.what != "min.insync.replicas"]
        why = f"the topic has {copies} copies: nothing could be written to it any more"
        found.append(step("min.insync.replicas", state.settings.get("min.insync.replicas"), in_sync, why))
    return found


def _no_partitions(one: Wanted, state: TopicState, *, grow: bool) -> str | None:
    if one.kind != "events":
        return "it must have just one: it was made by somebody else; delete it if nothing of ours is in it"
    if (one.partitions or 0) < state.partitions:
        return "Kafka cannot take partitions away"
    return None if grow else "keys move to other partitions, and their order breaks there: --grow does it all the same"


def _no_setting(one: Wanted, name: str) -> str | None:
    if one.kind == "checkpoint" and name == "cleanup.policy":
        return (
            "it was made by somebody else, or changed. Is there a checkpoint in it (cdc checkpoint show)? Then set it "
            "back to compact; else delete the topic"
        )
    return None


def expiries(settings: Settings, wanted: Iterable[Wanted], there: Mapping[str, TopicState]) -> list[str]:
    """Notes on topics that delete what somebody may still need."""
    tables_do = any(table.timestamp == "created_at" for _, _, table in settings.tables())
    by_their_time = {
        template.head: f"routes[{at}]"
        for at, route in enumerate(settings.routes)
        if route.topic is not None
        and (template := templates.parse(route.topic)).fixed
        and (tables_do if route.timestamp is None else route.timestamp == "created_at")
    }
    notes = []
    for one in wanted:
        state = there.get(one.topic)
        keeps = one.settings.get("retention.ms", state.settings.get("retention.ms", "") if state else "")
        if not keeps.isdigit():
            continue
        if one.kind == "dead letters":
            notes.append(f"{one.topic} keeps dead letters for {_long(int(keeps))}, replayed or not (-1: for ever)")
        elif one.topic in by_their_time:
            notes.append(
                f"{one.topic} keeps records for {_long(int(keeps))} by their time, and {by_their_time[one.topic]} "
                "gives them the row's (timestamp: created_at): what is older is deleted soon after it came"
            )
    return notes


def _long(milliseconds: int) -> str:
    hours = milliseconds / 3_600_000
    return f"{hours:.4g} hours" if hours < _TWO_DAYS else f"{hours / 24:.4g} days"


_TWO_DAYS = 48


# -- on a cluster ---------------------------------------------------------------------------------


class Topics:
    """The plan against a cluster, and carrying it out."""

    def __init__(self, settings: Settings, file: TopicsFile | None) -> None:
        self._settings, self._file = settings, file or TopicsFile()
        self._admin = TopicAdmin(settings.kafka.address())

    async def close(self) -> None:
        """Let go."""
        await self._admin.close()

    async def plan(self, *, grow: bool = False) -> Plan:
        """Compare; changes nothing. Raises SinkError."""
        settings, admin = self._settings, self._admin
        there = await admin.all_topics()
        known = {}
        for source in settings.sources:
            names = Names(settings.kafka.prefix, source)
            known[source] = names.topic not in there and await admin.is_known(names.transactional_id)
        wanted, notes = wanted_topics(settings, self._file, known)
        states = await admin.states(one.topic for one in wanted)
        notes += expiries(settings, wanted, states)
        return Plan(wanted, steps(wanted, states, partitions=settings.topics.partitions, grow=grow), notes)

    async def apply(self, plan: Plan) -> list[tuple[Step, CdcError | None]]:
        """Do what can be done, each step by itself; what became of it."""
        by_topic = {one.topic: one for one in plan.wanted}
        done: list[tuple[Step, CdcError | None]] = []
        for step in plan.doable:
            try:
                await self._do(step, by_topic[step.topic])
            except CdcError as error:
                done.append((step, error))
            else:
                done.append((step, None))
        return done

    async def _do(self, step: Step, wanted: Wanted) -> None:
        if step.what == "create":
            partitions = wanted.partitions or self._settings.topics.partitions
            await self._admin.make(step.topic, partitions, wanted.replication_factor, creation_settings(wanted))
        elif step.what == "partitions":
            await self._admin.grow(step.topic, int(step.wanted))
        else:
            await self._admin.change(step.topic, {step.what: step.wanted})
