"""What can go wrong with a request, and with the process that sends it.

A fault is put on one request when it leaves the client. It may act there, when the request
arrives, or when its answer leaves; between them lies every way in which a step can fail:
not done and known, not done and not known, done and not known, done late, done half.

`for_request` names the faults that make sense for a kind of request. `Plan` puts faults on
requests by their number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulation import wire
from tests.simulation.clock import Host

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.wire import Request

RESTART = 4.0
"""Seconds from a broker's death to its next life."""
FOR_EVER = 1e9


class Fault:
    """Nothing goes wrong."""

    name = "nothing"

    def leaving(self, broker: "Broker", request: "Request") -> None:
        """The request is on its way out of the client."""

    def arriving(self, broker: "Broker", request: "Request") -> bool:
        """The request has arrived; True: that is all that happens to it."""
        return False

    def replying(self, broker: "Broker", request: "Request", values: tuple[Any, ...]) -> bool:
        """The request was done and the answer is ready; True: it does not leave."""
        return False

    def __repr__(self) -> str:
        return self.name


@dataclass(repr=False)
class Cut(Fault):
    """The connection breaks."""

    done: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"cut {'after' if self.done else 'before'}"

    def leaving(self, broker, request):
        if not self.done:
            request.wire.mute = True
            broker.loop.call_soon(request.wire.reset, context=wire.EMPTY)

    def replying(self, broker, request, values):
        request.wire.reset()
        return True


@dataclass(repr=False)
class Silence(Fault):
    """Nothing gets through any more, and nobody is told."""

    done: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"silent {'after' if self.done else 'before'}"

    def leaving(self, broker, request):
        if not self.done:
            request.wire.mute = True

    def replying(self, broker, request, values):
        request.wire.mute = True
        return True


@dataclass(repr=False)
class Late(Fault):
    """The client's connection breaks, and the request is done later all the same."""

    seconds: float

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.seconds:g} s late"

    def leaving(self, broker, request):
        request.wire.mute = True
        broker.loop.call_soon(request.wire.reset, context=wire.EMPTY)
        broker.loop.call_later(self.seconds, self._then, broker, request, context=wire.EMPTY)

    def _then(self, broker, request):
        if broker.up:
            broker.handle(request)

    def replying(self, broker, request, values):
        return True


@dataclass(repr=False)
class Slow(Fault):
    """The answer takes its time, or the work does."""

    seconds: float
    done: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{'answered' if self.done else 'done'} {self.seconds:g} s later"

    def arriving(self, broker, request):
        if not self.done:
            broker.loop.call_later(self.seconds, self._then, broker, request, broker.lives, context=wire.EMPTY)
        return not self.done

    def _then(self, broker, request, life):
        if broker.lives == life:
            broker.handle(request)

    def replying(self, broker, request, values):
        if self.done:
            broker.loop.call_later(self.seconds, request.wire.answer, request, values, context=wire.EMPTY)
        return self.done


@dataclass(repr=False)
class Death(Fault):
    """The broker dies before it does what is asked, or before it answers, or some milliseconds later."""

    when: str
    loading: float = 0.0
    leaderless: float = 0.0

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"broker dies {self.when}{' and is slow to come' if self.loading else ''}"

    def _die(self, broker):
        broker.die(RESTART, loading=self.loading, leaderless=self.leaderless)

    def arriving(self, broker, request):
        if self.when == "before":
            self._die(broker)
        return self.when == "before"

    def replying(self, broker, request, values):
        if self.when == "after":
            self._die(broker)
        else:
            broker.loop.call_later(0.003, self._die, broker, context=wire.EMPTY)
        return self.when == "after"


@dataclass(repr=False)
class Refusal(Fault):
    """The broker answers with an error; `done`: after it did what was asked. `lasting`: so long, to all of the kind."""

    code: int
    done: bool = False
    lasting: float = 0.0

    @property
    def name(self) -> str:  # type: ignore[override]
        lasting = f" for {self.lasting:g} s" if self.lasting else ""
        return f"error {self.code}{' after it was done' if self.done else ''}{lasting}"

    def arriving(self, broker, request):
        if not self.done:
            broker.errors.append((request.api, self.code))
            request.wire.answer(request, refused(request, self.code))
        return not self.done

    def replying(self, broker, request, values):
        if self.done:
            broker.errors.append((request.api, self.code))
            request.wire.answer(request, refused(request, self.code))
        return self.done


@dataclass(repr=False)
class Frozen(Fault):
    """The process stops for a while, right after it has sent this (SIGSTOP, SIGCONT)."""

    seconds: float

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"frozen for {self.seconds:g} s"

    def leaving(self, broker, request):
        host = request.host
        if host is not None and not host.frozen:
            host.frozen = True
            broker.loop.call_later(self.seconds, self._thaw, broker, host, context=wire.EMPTY)

    def _thaw(self, broker, host: Host):
        if not host.dead:
            broker.loop.thaw(host)


@dataclass(repr=False)
class ToProcess(Fault):
    """Something is done to the process: `killed` before or after this is sent, `stopped`, or `cancelled`."""

    what: str
    act: Callable[[Host, str], None] = field(compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.what

    def leaving(self, broker, request):
        if request.host is not None:
            if self.what == "killed before":
                request.wire.mute = True
            self.act(request.host, self.what)


def refused(request: "Request", code: int) -> tuple[Any, ...]:  # noqa: PLR0911 - one for each kind of request
    """The fields of an answer that says no."""
    data = request.data
    match request.api:
        case "Produce":
            return [
                (w["topic"], [(p["partition"], code, -1, -1, -1) for p in w["partitions"]]) for w in data["topics"]
            ], 0
        case "Fetch":
            parts = [
                (w["topic"], [(p["partition"], code, -1, -1, -1, None, -1, b"") for p in w["partitions"]])
                for w in data["topics"]
            ]
            return 0, 0, 0, parts
        case "ListOffsets":
            return 0, [(w["topic"], [(p["partition"], code, -1, -1) for p in w["partitions"]]) for w in data["topics"]]
        case "FindCoordinator":
            return 0, code, None, -1, "", -1
        case "InitProducerId":
            return 0, code, -1, -1
        case "AddPartitions":
            return 0, [(w["topic"], [(p, code) for p in w["partitions"]]) for w in data["topics"]]
        case "EndTxn":
            return 0, code
        case "CreateTopics":
            return 0, [(w["topic"], code, None) for w in data["create_topic_requests"]]
        case "DescribeConfigs":
            return 0, [(code, "", w["resource_type"], w["resource_name"], []) for w in data["resources"]]
        case "DescribeTransactions":
            return 0, [(code, name, "", 0, -1, -1, -1, [], {}) for name in data["transactional_ids"]], {}
    raise AssertionError(request.api)


PASSING: Mapping[str, tuple[int, ...]] = {
    "Produce": (6, 7, 19),
    "Fetch": (6,),
    "ListOffsets": (5, 6),
    "FindCoordinator": (15,),
    "InitProducerId": (14, 15, 16, 51),
    "AddPartitions": (3, 14, 16, 51),
    "EndTxn": (14, 15, 16, 51),
    "CreateTopics": (7, 41),
    "DescribeConfigs": (7,),
    "DescribeTransactions": (14, 16),
}
"""Errors that a broker may answer today and not tomorrow."""
PASSING_AFTER: Mapping[str, tuple[int, ...]] = {
    "Produce": (7, 20),
    "EndTxn": (14, 16),
    "InitProducerId": (16,),
    "AddPartitions": (16,),
}
"""The same, when it has done what was asked."""
LASTING: Mapping[str, tuple[int, ...]] = {"AddPartitions": (3,), "EndTxn": (51,)}
"""Errors that may stay for longer than anybody should wait, and that aiokafka retries for ever."""
UNKNOWN: Mapping[str, tuple[int, ...]] = {
    "Produce": (-1, 10, 56),
    "AddPartitions": (47, 48),
    "EndTxn": (47, 48),
    "InitProducerId": (-1,),
}
"""What should not come, and what our client takes for the end."""


CHANGING = frozenset({"CreateTopics", "InitProducerId", "AddPartitions", "Produce", "EndTxn"})
"""Requests that leave something behind. For the others it is the same whether they were done or not."""
GREETINGS = frozenset({"ApiVersions", "Metadata"})
"""What every connection begins with: more than half of all requests, and all alike."""


def for_network(request_api: str) -> list[Fault]:
    """Faults of the network and of the broker's life, for a kind of request."""
    if request_api in GREETINGS:
        return [Cut(done=True), Silence(done=True), Slow(25.0, done=False), Death("after", loading=0.3, leaderless=0.3)]
    if request_api not in CHANGING:
        return [
            Cut(done=True), Silence(done=True), Slow(3.0, done=False), Slow(25.0, done=False),
            Death("before"), Death("after", loading=0.3, leaderless=0.3),
        ]  # fmt: skip
    faults: list[Fault] = [
        Cut(done=False), Cut(done=True), Silence(done=False), Silence(done=True), Late(3.0), Late(45.0),
        Slow(3.0, done=False), Slow(25.0, done=False), Slow(25.0, done=True),
        Death("before"), Death("after"), Death("after", loading=0.3, leaderless=0.3),
    ]  # fmt: skip
    if request_api == "EndTxn":
        faults += [Death("in the middle"), Late(90.0)]
    return faults


def for_answer(request_api: str) -> list[Fault]:
    """Errors that a broker may answer to a kind of request."""
    return [
        *(Refusal(code) for code in PASSING.get(request_api, ())),
        *(Refusal(code, done=True) for code in PASSING_AFTER.get(request_api, ())),
        *(Refusal(code) for code in UNKNOWN.get(request_api, ())),
        *(Refusal(code, lasting=40.0) for code in LASTING.get(request_api, ())),
    ]


def for_process(request_api: str, act: Callable[[Host, str], None]) -> list[Fault]:
    """Faults of the process that sends."""
    if request_api in GREETINGS:
        return [ToProcess("stopped", act), Frozen(100.0)]
    whats = ("killed before", "killed after", "stopped", "cancelled")
    told = [ToProcess(what, act) for what in (whats if request_api in CHANGING else whats[1:])]
    return [*told, Frozen(20.0), Frozen(100.0)]


def every(request_api: str, act: Callable[[Host, str], None]) -> list[Fault]:
    """All that can go wrong with a kind of request."""
    return [*for_network(request_api), *for_answer(request_api), *for_process(request_api, act)]


class Plan:
    """Faults by the number of the request that they strike, signs of life included."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        self.faults = dict(faults)
        self.counted = 0
        self.trace: list[str] = []
        self.struck: list[tuple[int, str, Fault]] = []
        self.last = 0.0
        self._last: dict[str, Fault] = {}
        self._until = 0.0
        self.faults_are_late = any(isinstance(fault, Late) for fault in faults.values())

    def __call__(self, request: "Request") -> Fault | None:
        self.counted += 1
        self.trace.append(request.api)
        fault = self.faults.pop(self.counted, None) or self._lasting(request)
        if fault is not None:
            if isinstance(fault, Refusal) and fault.lasting and fault not in self._last.values():
                self._last[request.api] = fault
                self._until = request.wire.loop.now + fault.lasting
            self.struck.append((self.counted, request.api, fault))
            self.last = request.wire.loop.now
        return fault

    def _lasting(self, request: "Request") -> Fault | None:
        """What still strikes all requests of this kind."""
        return self._last.get(request.api) if request.wire.loop.now < self._until else None


class Drawn(Plan):
    """Faults that are numbers: which one it is shows when the request is there, by its kind."""

    def __init__(self, numbers: Mapping[int, int], act: Callable[[Host, str], None]) -> None:
        super().__init__({})
        self._numbers, self._act = dict(numbers), act

    def __call__(self, request: "Request") -> Fault | None:
        which = self._numbers.pop(self.counted + 1, None)
        if which is not None:
            choice = every(request.api, self._act)
            self.faults[self.counted + 1] = fault = choice[which % len(choice)]
            self.faults_are_late |= isinstance(fault, Late)
        return super().__call__(request)
