"""The model broker: one node, spoken to in Kafka's protocol, that can fail at every step.

`Network.sending` is the seam for faults: every request passes there when it leaves the
client, with its number, and a fault may be put on it (`faults`). Everything the broker has
answered for is stored, as with a real one whose process is killed but not its machine: a
death cuts the connections, and what was decided is finished after the restart.

Its answers are compared with the real broker's in test_simulation_model.py. Beyond what is
recorded there, it only knows what our code and aiokafka ask.
"""

import asyncio
import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.simulation import wire
from tests.simulation.clock import Host, VirtualLoop
from tests.simulation.coordinator import LOOK_EVERY, Coordinator, Transaction
from tests.simulation.partition import NOT_LEADER, OK, OUT_OF_RANGE, UNKNOWN_TOPIC, Partition
from tests.simulation.wire import Request, Wire

EXISTS, ILLEGAL, NO_LEADER, LOADING, NO_COORDINATOR, NOT_ATTEMPTED, NO_SUCH_ID = 36, 17, 5, 14, 15, 55, 105
DEFAULTS = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": "3600000",
    "min.insync.replicas": "1",
    "retention.ms": "604800000",
}
LARGEST_REQUEST = 100 << 20
MARKER_DELAY = 0.002
CLUSTER = "model-cluster"
Place = tuple[str, int]


class Broker:
    """A broker, and the network in front of it."""

    def __init__(
        self, loop: VirtualLoop, *, auto_create: bool = False, poison: Mapping[bytes, int] | None = None
    ) -> None:
        self.loop, self.auto_create = loop, auto_create
        self.poison = poison or {}
        """Values that no topic of rows takes, and the error that says so."""
        self.largest_request = LARGEST_REQUEST
        self.topics: dict[str, list[Partition]] = {}
        self.up = True
        self.lives = 0
        self.loading_until = self.leaderless_until = 0.0
        self.coordinator = Coordinator(loop.time, self._prepared)
        self.wires: list[Wire] = []
        self.count = 0
        self.errors: list[tuple[str, int]] = []
        """Every error that was answered, by request."""
        self.asked_by_name: set[str] = set()
        self.strike: Callable[[Request], Any] = lambda request: None
        self.committing: Callable[[Transaction, dict[Place, list[Any]]], None] = lambda transaction, records: None
        self.plain: Callable[[Partition, list[Any]], None] = lambda partition, records: None
        self._waiting: dict[int, tuple[Request, asyncio.TimerHandle]] = {}
        self._listing: bytes | None = None
        loop.connect = self._connect
        loop.call_later(LOOK_EVERY, self._look)

    # -- the network --------------------------------------------------------------------

    def _connect(self, host: Host | None, protocol: asyncio.Protocol, port: int) -> asyncio.Transport:
        made = wire.connect(self, host, protocol)
        self.wires = [each for each in self.wires if not each.is_closing()]
        self.wires.append(made)
        return made

    def accepts(self, host: Host | None) -> bool:
        return self.up and not (host is not None and host.dead)

    def sending(self, request: Request) -> None:
        if request.host is not None and request.host.dead:
            request.wire.mute = True
            return
        self.count += 1
        request.number = self.count
        if request.size > self.largest_request:
            request.wire.mute = True
            self.loop.call_soon(request.wire.reset, context=wire.EMPTY)
            return
        request.fault = self.strike(request)
        if request.fault is not None:
            request.fault.leaving(self, request)

    def arrived(self, request: Request) -> None:
        if request.fault is None or not request.fault.arriving(self, request):
            self.handle(request)

    def handle(self, request: Request) -> None:
        """Do what is asked."""
        getattr(self, f"_on_{request.api}")(request, request.data)

    def reply(self, request: Request, *values: Any, error: int = OK) -> None:
        if error:
            self.errors.append((request.api, error))
        self._reply(request, values)

    def _reply(self, request: Request, values: tuple[Any, ...] | bytes) -> None:
        if request.fault is None or not request.fault.replying(self, request, values):
            request.wire.answer(request, values)

    def cut_off(self, host: Host) -> None:
        """A process is gone: the kernel resets its connections."""
        for each in self.wires:
            if each.host is host:
                each.mute = True
                each.reset()

    def state(self) -> dict[str, Any]:
        """All that is stored, for another broker to begin with."""
        ids = self.coordinator.ids
        return copy.deepcopy({"topics": self.topics, "ids": ids, "now": self.loop.now, "epoch": self.loop.epoch})

    def take_over(self, state: dict[str, Any]) -> None:
        """Begin with what another broker had stored."""
        stored = copy.deepcopy(state)
        self._listing = None
        self.topics, self.coordinator.ids = stored["topics"], stored["ids"]
        self.loop.now, self.loop.epoch = stored["now"], stored["epoch"]
        self.coordinator.next_pid = max((each.pid for each in self.coordinator.ids.values()), default=999) + 1

    # -- life and death -----------------------------------------------------------------

    def die(self, seconds: float, *, loading: float = 0.0, leaderless: float = 0.0) -> None:
        """Be killed, and start again after some seconds."""
        if not self.up:
            return
        self.up, self.lives = False, self.lives + 1
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for each in self.wires:
            each.reset()
        self.wires = []
        self.loop.call_later(seconds, self._start, loading, leaderless)

    def _start(self, loading: float, leaderless: float) -> None:
        self.up = True
        self._listing = None
        self.loading_until, self.leaderless_until = self.loop.now + loading, self.loop.now + leaderless
        for each in self.coordinator.ids.values():
            if each.prepared:
                self._mark_later(each)

    def _look(self) -> None:
        if self.up:
            self.coordinator.look()
        self.loop.call_later(LOOK_EVERY, self._look)

    # -- topics -------------------------------------------------------------------------

    def create(self, topic: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> int:
        if topic in self.topics:
            return EXISTS
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic):
            return ILLEGAL
        configs = DEFAULTS | dict(settings or {})
        self.topics[topic] = [Partition(topic, number, configs) for number in range(partitions)]
        self._listing = None
        return OK

    def delete(self, topic: str) -> None:
        del self.topics[topic]
        self._listing = None

    def partition(self, topic: str, number: int) -> Partition | None:
        parts = self.topics.get(topic, [])
        return parts[number] if 0 <= number < len(parts) else None

    @property
    def is_settled(self) -> bool:
        """Is no transaction open anywhere?"""
        return self.up and all(part.stable == part.end for parts in self.topics.values() for part in parts)

    @property
    def leaderless(self) -> bool:
        return self.loop.now < self.leaderless_until

    def _found(self, topic: str, number: int) -> tuple[int, Partition | None]:
        found = self.partition(topic, number)
        if found is None:
            return UNKNOWN_TOPIC, None
        return (NOT_LEADER, None) if self.leaderless else (OK, found)

    def _on_ApiVersions(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        self._reply(request, wire.GREETING)

    def _on_Metadata(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        for topic in data["topics"] or ():
            self.asked_by_name.add(topic)
            if self.auto_create and data["allow_auto_topic_creation"]:
                self.create(topic)
        if self.leaderless:
            self._reply(request, self._encoded_listing(NO_LEADER, -1))
            return
        if self._listing is None:
            self._listing = self._encoded_listing(OK, 0)
        self._reply(request, self._listing)

    def _encoded_listing(self, error: int, leader: int) -> bytes:
        topics = [
            (0, name, False, [(error, part.number, leader, [0], [0], []) for part in parts])
            for name, parts in self.topics.items()
        ]
        return wire.encode_body(3, (0, [(0, "model", 9092, None)], CLUSTER, 0, topics))

    def _on_CreateTopics(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        answers = []
        for wish in data["create_topic_requests"]:
            configs = {each["config_key"]: each["config_value"] for each in wish["configs"] or ()}
            answers.append((wish["topic"], self.create(wish["topic"], wish["num_partitions"], configs), None))
        self.reply(request, 0, answers)

    def _on_DescribeConfigs(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        answers: list[Any] = []
        for wish in data["resources"]:
            kind, topic = wish["resource_type"], wish["resource_name"]
            parts = self.topics.get(topic) if kind == 2 else []
            settings = parts[0].settings if parts else {"socket.request.max.bytes": str(self.largest_request)}
            entries = [(name, value, False, 5, False, []) for name, value in settings.items()]
            error = UNKNOWN_TOPIC if parts is None else OK
            answers.append((error, "", kind, topic, entries))
        self.reply(request, 0, answers)

    def _on_ListOffsets(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        answers = []
        for wish in data["topics"]:
            parts: list[Any] = []
            for each in wish["partitions"]:
                error, found = self._found(wish["topic"], each["partition"])
                offset = -1
                if found is not None:
                    stable = data["isolation_level"] == 1
                    offset = 0 if each["timestamp"] == -2 else found.stable if stable else found.end
                parts.append((each["partition"], error, -1, offset))
            answers.append((wish["topic"], parts))
        self.reply(request, 0, answers)

    # -- records ------------------------------------------------------------------------

    def _on_Produce(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        answers, worst = [], OK
        for wish in data["topics"]:
            parts: list[Any] = []
            for each in wish["partitions"]:
                place = (wish["topic"], each["partition"])
                error, offset = self.append(data["transactional_id"], place, each["messages"])
                worst = worst or error
                parts.append((each["partition"], error, offset, -1, -1 if error else 0))
            answers.append((wish["topic"], parts))
        self.reply(request, answers, 0, error=worst)

    def append(self, name: str | None, place: Place, raw: bytes) -> tuple[int, int]:
        error, found = self._found(*place)
        if found is None:
            return error, -1
        pid, epoch = int.from_bytes(raw[43:51], "big", signed=True), int.from_bytes(raw[51:53], "big", signed=True)
        if name is not None and not found.is_open(pid):
            error = self.coordinator.may_produce(name, pid, epoch, place)
            if error:
                return error, -1
        before = found.end
        poison = self.poison if not place[0].startswith("cdc.") else {}
        error, offset = found.append(raw, self.loop.epoch + self.loop.now, poison)
        if found.end > before:
            if name is None:
                self.plain(found, found.log[-1].records())
            self._wake()
        return error, offset

    def _on_Fetch(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        if self._has_news(data):
            self._answer_fetch(request)
            return
        timer = self.loop.call_later(data["max_wait_time"] / 1000, self._answer_fetch, request, context=wire.EMPTY)
        self._waiting[id(request)] = (request, timer)

    def _has_news(self, data: dict[str, Any]) -> bool:
        for wish in data["topics"]:
            for each in wish["partitions"]:
                _, found = self._found(wish["topic"], each["partition"])
                if found is None or each["fetch_offset"] != _limit(found, data):
                    return True
        return False

    def _answer_fetch(self, request: Request) -> None:
        _, timer = self._waiting.pop(id(request), (None, None))
        if timer is not None:
            timer.cancel()
        data = request.data
        answers = []
        for wish in data["topics"]:
            parts: list[Any] = []
            for each in wish["partitions"]:
                number, offset = each["partition"], each["fetch_offset"]
                error, found = self._found(wish["topic"], number)
                if found is not None and not 0 <= offset <= found.end:
                    error, found = OUT_OF_RANGE, None
                if found is None:
                    parts.append((number, error, -1, -1, -1, None, -1, b""))
                    continue
                limit, committed = _limit(found, data), data["isolation_level"] == 1
                aborted = found.aborted_in(offset, limit) if committed else None
                parts.append((number, 0, found.end, found.stable, 0, aborted, -1, found.read(offset, limit)))
            answers.append((wish["topic"], parts))
        self.reply(request, 0, 0, 0, answers)

    def _wake(self) -> None:
        """Something was appended, or a transaction ended."""
        for request, _ in list(self._waiting.values()):
            if self._has_news(request.data):
                self._answer_fetch(request)

    # -- transactions -------------------------------------------------------------------

    def _loading(self) -> int:
        return LOADING if self.loop.now < self.loading_until else OK

    def _on_FindCoordinator(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        error = NO_COORDINATOR if self._loading() else OK
        node = (-1, "", -1) if error else (0, "model", 9092)
        self.reply(request, 0, error, None, *node, error=error)

    def _on_InitProducerId(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        error, pid, epoch = self._loading(), -1, -1
        if not error:
            timeout = data["transaction_timeout_ms"] / 1000
            error, pid, epoch = self.coordinator.init(data["transactional_id"], timeout)
        self.reply(request, 0, error, pid, epoch, error=error)

    def _on_AddPartitions(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        places = [(wish["topic"], number) for wish in data["topics"] for number in wish["partitions"]]
        unknown = {place for place in places if self.partition(*place) is None}
        if unknown:
            errors = {place: UNKNOWN_TOPIC if place in unknown else NOT_ATTEMPTED for place in places}
        else:
            name, pid, epoch = data["transactional_id"], data["producer_id"], data["producer_epoch"]
            error = self._loading() or self.coordinator.add(name, pid, epoch, set(places))
            errors = dict.fromkeys(places, error)
        answers = [(w["topic"], [(n, errors[w["topic"], n]) for n in w["partitions"]]) for w in data["topics"]]
        self.reply(request, 0, answers, error=max(errors.values(), default=0))

    def _on_EndTxn(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        name, pid, epoch = data["transactional_id"], data["producer_id"], data["producer_epoch"]
        error = self._loading() or self.coordinator.end(name, pid, epoch, commit=data["transaction_result"])
        self.reply(request, 0, error, error=error)

    def _on_DescribeTransactions(self, request: Request, data: dict[str, Any]) -> None:  # noqa: N802
        answers = []
        for name in data["transactional_ids"]:
            found = self.coordinator.ids.get(name)
            if found is None:
                answers.append((NO_SUCH_ID, name, "", 0, -1, 0, 0, [], {}))
                continue
            places: dict[str, list[int]] = {}
            for topic, number in sorted(found.places):
                places.setdefault(topic, []).append(number)
            topics = [(topic, numbers, {}) for topic, numbers in places.items()]
            answers.append((0, name, found.state, int(found.timeout * 1000), -1, found.pid, found.epoch, topics, {}))
        self.reply(request, 0, answers, {})

    def _prepared(self, transaction: Transaction, commit: bool) -> None:
        if commit:
            records: dict[Place, list[Any]] = {}
            for place in sorted(transaction.places):
                found = self.partition(*place)
                if found is not None:
                    batches = found.open_batches(transaction.pid)
                    records[place] = [record for batch in batches for record in batch.records()]
            self.committing(transaction, records)
        self._mark_later(transaction)

    def _mark_later(self, transaction: Transaction) -> None:
        self.loop.call_later(MARKER_DELAY, self._mark, transaction, self.lives, context=wire.EMPTY)

    def _mark(self, transaction: Transaction, life: int) -> None:
        """Write the next marker; when all are written the transaction is complete."""
        if not self.up or life != self.lives:
            return
        left = sorted(transaction.places - transaction.marked)
        if not left:
            self.coordinator.complete(transaction)
            return
        commit = transaction.state == "PrepareCommit"
        found = self.partition(*left[0])
        if found is not None:
            found.mark(transaction.pid, transaction.epoch, commit=commit, now=self.loop.epoch + self.loop.now)
        transaction.marked.add(left[0])
        self._wake()
        if len(left) > 1:
            self._mark_later(transaction)
        else:
            self.coordinator.complete(transaction)


def _limit(found: Partition, data: dict[str, Any]) -> int:
    """Up to where a fetch may read."""
    return found.stable if data["isolation_level"] == 1 else found.end
