"""How far behind: seconds and bytes, from what a server says of its log's end now and then.

No single fact gives the seconds. Two bounds from above do, the smaller one counts:

* what is not published yet is younger than the last log event before it (by the server's own
  clock, whose offset to ours comes with each survey);
* it is younger than the latest survey whose log end is behind us: all there was then is published.

So an idle server is not behind (the second), nor is an idle outbox on a busy one (the first), a
start after hours off shows those hours (the first), and a log end nobody could ask for makes
nothing look well for longer than the surveys are old.
"""

from __future__ import annotations

from collections import deque

from cdc.mysql.survey import Survey
from cdc.position import Position
from cdc.pump import file_number, is_reached

_REMEMBERED = 64


class Lag:
    """Seconds and bytes behind. `now` is a monotonic clock, `wall` this machine's time."""

    def __init__(self) -> None:
        self._unreached: deque[tuple[float, Survey]] = deque()
        self._reached_at: float | None = None
        self._offset = 0.0
        self.latest: Survey | None = None
        self.surveyed_at: float | None = None

    def surveyed(self, survey: Survey, *, now: float, wall: float) -> None:
        """The server has answered; `now` and `wall` are from before it was asked."""
        self.latest, self.surveyed_at = survey, now
        self._offset = survey.clock - wall
        if len(self._unreached) >= _REMEMBERED:  # far behind: half of the marks will do
            self._unreached = deque(list(self._unreached)[::2])
        self._unreached.append((now, survey))

    def forget(self) -> None:
        """The log is opened anew, maybe on another server: what surveys said of its end is no mark any more."""
        self._unreached.clear()
        self.latest = None

    def age(self, log_time: float, *, wall: float) -> float:
        """Seconds since a time in the log."""
        return max(0.0, wall + self._offset - log_time)

    def passed(self, position: Position) -> bool:
        """Take note that all before the position is published; is that all there was at the latest survey?"""
        while self._unreached and is_reached(position, self._unreached[0][1].end):
            self._reached_at = self._unreached.popleft()[0]
        return self.latest is not None and not self._unreached

    def seconds(self, log_time: float, *, now: float, wall: float) -> float | None:
        """At most so old is what is not published; `log_time`: of the last log event before it. None: not known."""
        bounds = [now - self._reached_at] if self._reached_at is not None else []
        if log_time:
            bounds.append(self.age(log_time, wall=wall))
        return min(bounds, default=None)

    def bytes_behind(self, position: Position) -> tuple[int, int] | None:
        """Bytes and files of the log between the position and its end at the latest survey. None: not known."""
        if self.latest is None:
            return None
        end, sizes = self.latest.end, self.latest.sizes
        files = file_number(end.file) - file_number(position.file)
        if files <= 0:
            return max(0, end.position - position.position) if files == 0 else 0, 0
        between = [size for name, size in sizes.items() if position.file < name < end.file]
        rest = max(0, sizes.get(position.file, position.position) - position.position)
        return rest + sum(between) + end.position, files

    def retained(self, position: Position, *, wall: float) -> float | None:
        """Seconds until the server may purge what is behind the position, at the earliest. None: not by age."""
        if self.latest is None or self.latest.keeps is None:
            return None
        if file_number(position.file) >= file_number(self.latest.end.file) or not position.log_time:
            return self.latest.keeps  # the newest file is never purged
        return self.latest.keeps - self.age(position.log_time, wall=wall)
