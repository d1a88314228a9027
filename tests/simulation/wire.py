"""Kafka's requests and responses as bytes, and connections made of nothing.

The client under test is aiokafka itself, unchanged: it opens a connection on the virtual
loop and gets a `Wire`, whose other end is a `Server`. Bytes written are cut into frames,
decoded with aiokafka's own schemas (the real broker's answers to the same requests are
compared in test_simulation_model.py) and handed over after `LATENCY`.

As a real broker does, one request of a connection is worked on at a time, so a fetch that
waits for data holds up what comes behind it. What was written before a connection broke
may still arrive: that is how a request comes late.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any, Protocol

from aiokafka.protocol import admin, api, coordination, fetch, metadata, offset, produce, transaction

from cdc.kafka import cluster
from tests.simulation.clock import HOST, Host, VirtualLoop

LATENCY = 0.0005
EMPTY = Context()
"""What belongs to no process: the broker, and what the harness has planned."""

SPOKEN: dict[int, type[api.RequestStruct]] = {
    request.API_KEY: request
    for request in (
        produce.ProduceRequest_v7,
        fetch.FetchRequest_v11,
        offset.OffsetRequest_v3,
        metadata.MetadataRequest_v5,
        coordination.FindCoordinatorRequest_v1,
        admin.ApiVersionRequest_v0,
        admin.CreateTopicsRequest_v3,
        admin.DescribeConfigsRequest_v2,
        transaction.InitProducerIdRequest_v0,
        transaction.AddPartitionsToTxnRequest_v0,
        transaction.EndTxnRequest_v0,
        cluster.DescribeTransactionsRequestV0,
    )
}
"""By API key: the version aiokafka chooses with Kafka 4.1, and the only one the model knows."""

NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    10: "FindCoordinator",
    18: "ApiVersions",
    19: "CreateTopics",
    22: "InitProducerId",
    24: "AddPartitions",
    26: "EndTxn",
    32: "DescribeConfigs",
    65: "DescribeTransactions",
}


@dataclass(slots=True)
class Request:
    """A request as it arrived: `api` its name, `data` its fields by name."""

    key: int
    api: str
    data: dict[str, Any]
    correlation: int
    wire: "Wire"
    host: Host | None
    size: int
    fault: Any = None
    number: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Server(Protocol):
    """What is at the other end."""

    loop: VirtualLoop

    def accepts(self, host: Host | None) -> bool:
        """Is anybody listening?"""

    def arrived(self, request: Request) -> None:
        """A request is at the server and its turn has come."""

    def sending(self, request: Request) -> None:
        """A request leaves the client: the moment at which a fault may be put on it."""


class Wire(asyncio.Transport):
    """One connection, seen from the client. `broken` is its end."""

    def __init__(self, server: Server, host: Host | None, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.server, self.loop, self.host, self._protocol = server, server.loop, host, protocol
        self._buffer = bytearray()
        self._closing = False
        self.mute = False
        """Nothing gets through any more, in either direction, and nobody is told."""
        self._queue: deque[Request] = deque()
        self._busy = False

    # -- the client's side --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        self._buffer += data
        while len(self._buffer) >= 4:
            (size,) = struct.unpack_from(">i", self._buffer)
            if len(self._buffer) < size + 4:
                return
            frame = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        request = decode(frame, self)
        self.server.sending(request)
        if not self.mute and not self._closing:
            self.loop.call_later(LATENCY, self.deliver, request, context=EMPTY)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._in_client(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        """What was received stays in the reader's buffer; there is no limit here."""

    def resume_reading(self) -> None:
        """See pause_reading."""

    def get_write_buffer_size(self) -> int:
        return 0

    # -- the server's side --------------------------------------------------------------

    def deliver(self, request: Request) -> None:
        """The request has reached the server."""
        if self.mute or not self.server.accepts(self.host):
            return
        self._queue.append(request)
        self._next()

    def _next(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            self.server.arrived(self._queue.popleft())

    def answer(self, request: Request, values: tuple[Any, ...] | bytes, delay: float = 0.0) -> None:
        """Send a response, and turn to the next request of this connection."""
        frame = encode(request.key, request.correlation, values)
        self._busy = False
        if not self.mute and not self._closing:
            self.loop.call_later(LATENCY + delay, self._receive, frame, context=EMPTY)
        self._next()

    def _receive(self, frame: bytes) -> None:
        if not self._closing and not self.mute:
            self._in_client(self._protocol.data_received, frame)

    def reset(self) -> None:
        """The connection breaks; the client hears of it."""
        if not self._closing:
            self._closing = True
            self._queue.clear()
            self._in_client(self._protocol.connection_lost, ConnectionResetError(104, "Connection reset by peer"))

    def _in_client(self, callback: Callable[..., object], *arguments: object) -> None:
        """As the selector would call it: in the loop of the process that owns the socket."""
        self.loop.call_soon(callback, *arguments, context=context_of(self.host))


@cache
def context_of(host: Host | None) -> Any:
    """A context in which callbacks belong to this host."""
    context = EMPTY.copy()
    context.run(HOST.set, host)
    return context


def connect(server: Server, host: Host | None, protocol: asyncio.Protocol) -> Wire:
    """A new connection, or ConnectionRefusedError."""
    if not server.accepts(host):
        raise ConnectionRefusedError(111, "Connection refused")
    wire = Wire(server, host, protocol)
    protocol.connection_made(wire)
    return wire


def decode(frame: bytes, wire: Wire) -> Request:
    """A frame's request, by the names of its fields."""
    data = BytesIO(frame)
    key, version, correlation = struct.unpack(">hhi", data.read(8))
    kind = SPOKEN[key]
    assert version == kind.API_VERSION, f"{NAMES[key]} version {version}"
    (length,) = struct.unpack(">h", data.read(2))
    data.read(max(length, 0))
    if kind.FLEXIBLE_VERSION:
        data.read(1)
    fields = _named(kind.SCHEMA, [each.decode(data) for each in kind.SCHEMA.fields])
    return Request(key, NAMES[key], fields, correlation, wire, wire.host, len(frame) + 4)


def _named(schema: Any, values: Any) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, kind, value in zip(schema.names, schema.fields, values, strict=True):
        inner = getattr(kind, "array_of", None)
        named[name] = [_named(inner, each) for each in value] if hasattr(inner, "names") and value else value
    return named


def encode(key: int, correlation: int, values: tuple[Any, ...] | bytes) -> bytes:
    """A frame of the response to a request with this API key."""
    tags = b"\0" if SPOKEN[key].FLEXIBLE_VERSION else b""
    body = values if isinstance(values, bytes) else encode_body(key, values)
    return struct.pack(">ii", 4 + len(tags) + len(body), correlation) + tags + body


def encode_body(key: int, values: tuple[Any, ...]) -> bytes:
    """The fields of a response."""
    return bytes(SPOKEN[key].RESPONSE_TYPE.SCHEMA.encode(list(values)))


GREETING = encode_body(18, (0, [(key, kind.API_VERSION, kind.API_VERSION) for key, kind in SPOKEN.items()]))
"""The answer to ApiVersions, always the same."""
