"""What the stack prints while it works.

Several servers are fetched and started at the same time, so there is one board for all:
``say`` prints a line that stays, ``task`` shows something that takes long with a measure of
how far it is. On a terminal the running tasks share one live line; elsewhere (CI, a file)
each prints a line every few seconds, so a log shows that it is alive.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_LIVE_EVERY = 0.25
_LINE_EVERY = 5.0


def megabytes_in(*folders: Path) -> float:
    """Return the size of all files below some folders, which may change meanwhile."""
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                if path.is_file() and not path.is_symlink():
                    total += path.stat().st_size
            except OSError:
                # moved or deleted between the listing and the look
                continue
    return total / 1e6


class Board:
    """Prints to one stream, from any thread. ``Board(None)`` prints nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._lock = threading.Lock()
        self._tasks: dict[str, tuple[float, Callable[[], str]]] = {}
        self._ticker: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._stream is None:
            return
        with self._lock:
            self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
            self._stream.flush()

    @contextmanager
    def task(self, name: str, measure: Callable[[], str] = str) -> Iterator[None]:
        """Show ``name``, what ``measure`` returns and the seconds gone by until the block ends."""
        if self._stream is None:
            yield
            return
        with self._lock:
            self._tasks[name] = (time.monotonic(), measure)
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
                self._ticker.start()
        try:
            yield
        finally:
            with self._lock:
                del self._tasks[name]
                if self._live:
                    self._stream.write("\r\x1b[K")
                    self._stream.flush()

    def _tick(self) -> None:
        while True:
            time.sleep(_LIVE_EVERY if self._live else _LINE_EVERY)
            with self._lock:
                tasks = dict(self._tasks)
                if not tasks:
                    self._ticker = None
                    return
            lines = [self._line(name, *task) for name, task in tasks.items()]
            if self._live:
                # a line that wraps could not be taken back
                room = shutil.get_terminal_size().columns - 1
                self._draw("\r\x1b[K" + "  |  ".join(lines)[:room])
            else:
                self._draw("".join(f"  ... {line}\n" for line in lines))

    @staticmethod
    def _line(name: str, since: float, measure: Callable[[], str]) -> str:
        parts = [name, measure(), f"{time.monotonic() - since:.0f} s"]
        return ", ".join(part for part in parts if part)

    def _draw(self, text: str) -> None:
        with self._lock:
            # the tasks may have ended while they were measured
            if self._tasks and self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
