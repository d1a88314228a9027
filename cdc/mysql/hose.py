"""The log's socket, read by a thread into a hand-over that is bounded in bytes.

A thread only receives (that works with TLS and frees the interpreter meanwhile); parsing
stays in the event loop, because a second thread that parses adds milliseconds to
every Kafka call. When `limit` bytes wait to be taken the thread stops receiving, the
kernel's buffers fill, and the server waits: back-pressure without any protocol. When nobody
takes any for `patience` seconds the connection is closed on purpose, before a timeout of the
server or of something between ends it less orderly; `Paused` is then the end that is told.

`take` gives what is there, at most `most` bytes; it awaits nothing after it has taken bytes
out, so cancelling it loses none. An end or an error of the socket is told only after
all bytes before it were taken.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from cdc.errors import SourceError, SourceUnavailable
from cdc.mysql.session import mapped
from cdc.mysql.stream import LogStream


class Paused(SourceError):
    """Closed on purpose, because nobody took bytes for long; reading goes on where they end."""


class Hose:
    """Bytes of one stream on their way from its socket to the event loop."""

    def __init__(self, stream: LogStream, *, limit: int, chunk: int, patience: float = 30.0) -> None:
        self._stream, self._limit, self._chunk, self._patience = stream, limit, chunk, patience
        self._chunks: deque[bytes] = deque()
        self._begin = 0  # of what is not taken of the first chunk
        self._held = 0
        self._end: SourceError | None = None
        self._closed = False
        self._waiting = False
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"log of {stream.address}", daemon=True)
        self._thread.start()

    @property
    def held(self) -> int:
        """Bytes received and not yet taken: at most `limit` and one chunk."""
        return self._held

    # -- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        end: SourceError
        try:
            while data := self._stream.receive(self._chunk):
                if not self._hand_over(data):
                    return
                if isinstance(self._end, Paused):
                    self._stream.cut()
                    self._wake()
                    return
            end = SourceUnavailable(
                f"{self._stream.address} ended the log stream",
                hint="it was shut down, or somebody killed the connection; reading goes on after a reconnect",
            )
        except TimeoutError:
            end = SourceUnavailable(
                f"{self._stream.address} was silent for {self._stream.silence:g} s, heartbeats included",
                hint="the network or the server hangs; reading goes on after a reconnect",
            )
        except (OSError, ValueError) as error:  # ValueError: TLS read on a socket that was closed
            end = mapped(ConnectionError(str(error)), self._stream.address)
        with self._changed:
            self._end = end
        self._wake()

    def _hand_over(self, data: bytes) -> bool:
        with self._changed:
            self._chunks.append(data)
            self._held += len(data)
            wake = self._waiting
            self._waiting = False
        if wake:
            self._wake()
        with self._changed:
            if not self._changed.wait_for(lambda: self._held < self._limit or self._closed, self._patience):
                self._end = Paused(f"{self._stream.address}: nobody took its log for {self._patience:g} s")
            return not self._closed

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:
            pass  # the loop has ended: nobody waits

    # -- in the event loop ---------------------------------------------------------------

    async def take(self, most: int) -> bytes:
        """What has arrived, at least one byte and at most `most`. Raises SourceError at the end."""
        while True:
            with self._changed:
                if self._chunks:
                    return self._taken(most)
                if self._end is not None:
                    raise self._end
                self._waiting = True
                self._arrived.clear()
            await self._arrived.wait()

    def _taken(self, most: int) -> bytes:
        parts, size = [], 0
        while self._chunks and size < most:
            part, begin = self._chunks[0], self._begin
            end = min(len(part), begin + most - size)
            if end == len(part):
                self._chunks.popleft()
                self._begin = 0
            else:
                self._begin = end
            parts.append(part[begin:end])
            size += end - begin
        self._held -= size
        if self._held <= self._limit // 2:  # one wake-up for many chunks: each costs the event loop the interpreter
            self._changed.notify()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        """End the thread, then let go of the socket."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._held = 0
            self._changed.notify()
        self._stream.cut()
        await asyncio.to_thread(self._thread.join)
        self._stream.close()
