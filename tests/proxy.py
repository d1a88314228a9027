"""A TCP proxy on the loopback that can do to a connection what networks do to it.

    pass    forward
    cut     end all connections with a RST, at once; new ones are taken again
    stall   half-open: connections stay, and not a byte goes through, neither data nor an end; new ones as well
    slow    forward so many bytes a second, all connections together

`target` may be changed at any time: new connections go there, as when an address leads to a promoted server.
Threads, because tests hold up the event loop; one for each direction of a connection.
"""

import contextlib
import socket
import struct
import threading
import time
from typing import Self

RST = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: close() sends RST."""


class Proxy:
    """Forwards connections to `target` while it is told to."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.mode = "pass"
        self.rate = 100_000.0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stall(self) -> None:
        """From now on nothing goes through, and nobody is told."""
        self.mode = "stall"

    def slow(self, rate: float) -> None:
        """So many bytes a second."""
        self.mode, self.rate = "slow", rate

    def resume(self, *, late: bool = False) -> None:
        """Forward again. What was stalled is dropped with its connections, as a network that comes back does not know them.

        `late`: it is delivered after all, also when its sender has given up and gone.
        """
        if self.mode == "stall" and not late:
            self.cut()
        self.mode = "pass"

    def cut(self) -> None:
        """RST for all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
                end.close()

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.mode = "pass"
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, timeout=5)
            except OSError:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(16384):
                while self.mode == "stall":
                    if source.fileno() < 0:
                        return
                    time.sleep(0.02)
                if self.mode == "slow":
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
            while self.mode == "stall" and source.fileno() >= 0:
                time.sleep(0.02)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
