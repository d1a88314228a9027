"""What the service says: structlog on stderr, text for people on a terminal, JSON lines else.

`configure()` is called once by the command. Other libraries log through `logging`; their
warnings come out in the same form, a message once in ten seconds, with a count of those held
back. aiokafka is silent: while a broker is away it says so fifty times a second, and what
matters of that is in our own errors.

`StepLog` turns the pump's steps into lines. A step that is no news (each read, each
commit) gives none: the status line sums them up.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import structlog

from cdc.errors import CdcError, UnexpectedUpdate

Format = Literal["auto", "text", "json"]

_QUIET_SECONDS = 10.0
_AT_FIRST = 5


def configure(form: Format = "auto", *, verbose: bool = False) -> None:
    """Set up logging for the process; again is allowed."""
    as_text = sys.stderr.isatty() if form == "auto" else form == "text"
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        *([] if as_text else [structlog.processors.format_exc_info]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=shared))
    handler.addFilter(_OnceInAWhile())
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Never their debug lines: they hold requests, and those hold payloads.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class _OnceInAWhile(logging.Filter):
    """Lets the same message of a foreign library through once in ten seconds, and says how many it held back."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one record."""
        key, now = (record.name, str(record.msg)), time.monotonic()
        said, held = self._seen.get(key, (-_QUIET_SECONDS, 0))
        if now - said < _QUIET_SECONDS:
            self._seen[key] = (said, held + 1)
            return False
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more of these)", ()
        if len(self._seen) > 1000:  # noqa: PLR2004 - messages of libraries are few; a bound all the same
            self._seen.clear()
        self._seen[key] = (now, 0)
        return True


_SAID: dict[str, tuple[str, str]] = {
    "standing_by": ("info", "standing by: another instance works"),
    "fencing": ("debug", "fencing"),
    "fenced": ("info", "this instance is the only writer now"),
    "first_start": ("info", "first start"),
    "table_added": (
        "warning",
        "tables new to this source are read from here on: rows they hold already stay unpublished",
    ),
    "founded": ("info", "checkpoint founded"),
    "snapshot_begun": ("info", "publishing the rows that are in the table, in this order"),
    "snapshot_resumed": ("info", "going on to publish the rows that are in the table"),
    "snapshotting": ("info", "publishing rows of the table"),
    "snapshot_done": ("info", "all rows of the table are read; the log comes next"),
    "opening": ("debug", "opening the log"),
    "opened": ("info", "reading the log"),
    "looking_up": ("info", "reading the rows of a prepared XA transaction again"),
    "doubt": ("info", "a Kafka transaction is in doubt"),
    "starting_over": ("warning", "starting over from the checkpoint"),
    "refused": ("warning", "row passed over"),
    "expiring": (
        "warning",
        "records bear a time older than their topic keeps (timestamp: created_at): Kafka deletes them soon",
    ),
    "letters_expire": (
        "warning",
        "dead letters are deleted after a time, replayed or not: set retention.ms of their topic to -1",
    ),
    "partitions_changed": ("warning", "a topic has other partitions now: keys may go elsewhere from here on"),
    "examining": ("warning", "Kafka refuses records: looking for the ones it does not take"),
    "giant_begun": ("info", "a transaction larger than its part of memory_budget: one Kafka transaction stays open"),
    "giant_undone": (
        "info",
        "the large transaction is given up (rolled back, read again or stopped): nothing is visible",
    ),
    "paused": ("info", "nobody took the log for long: closed on purpose, and opened again"),
    "stopping": ("info", "stopping"),
    "caught_up": ("info", "caught up"),
    "released": ("info", "released: stopped on purpose, all that was read is committed"),
}


@dataclass(slots=True)
class _Seen:
    """Refusals of one kind: when one was said last, how many were, and how many were not since."""

    at: float = 0.0
    said: int = 0
    held: int = 0


class StepLog:
    """An Observer that logs what is news, with the source's name.

    Of refused rows of one kind the first few are said, then one in ten seconds; all of them are counted elsewhere.
    """

    def __init__(self, source: str) -> None:
        self._log = structlog.get_logger().bind(source=source)
        self._refused: dict[tuple[object, object], _Seen] = {}

    def __call__(self, step: str, /, **facts: object) -> None:
        """Log the step where it is news."""
        level, text = _SAID.get(step, ("debug", step.replace("_", " ")))
        if step == "refused":
            held = self._held_back(facts)
            if held is None:
                return
            facts |= {"more_of_these": held} if held else {}
            level, text = _refused(facts)
        for warning in _texts(facts.pop("warnings", ())):
            self._log.warning(warning)
        said: dict[str, object] = {}
        for name, fact in facts.items():
            if isinstance(fact, CdcError):
                said |= describe(fact)
            elif fact in (None, (), ""):
                continue
            elif isinstance(fact, float):
                said[name] = round(fact, 2)
            elif isinstance(fact, int):
                said[name] = fact
            else:
                said[name] = str(fact)
        self._log.log(logging.getLevelNamesMapping()[level.upper()], text, **said)

    def _held_back(self, facts: Mapping[str, object]) -> int | None:
        """How many refusals of this kind were not said since the last one that was; None: hold this one back, too."""
        kind, now = (type(facts.get("error")), facts.get("policy")), time.monotonic()
        seen = self._refused.setdefault(kind, _Seen())
        if seen.said >= _AT_FIRST and now - seen.at < _QUIET_SECONDS:
            seen.held += 1
            return None
        held, seen.held, seen.at, seen.said = seen.held, 0, now, seen.said + 1
        return held


def _refused(facts: Mapping[str, object]) -> tuple[str, str]:
    """Level and words for a row that became no record."""
    error = facts.get("error")
    if isinstance(error, UnexpectedUpdate):
        return "error" if error.grave else "warning", "UPDATE of an outbox's row passed over"
    return "warning", "row kept as a dead letter" if facts.get("policy") == "dead_letter" else "row passed over"


def _texts(fact: object) -> list[str]:
    return list(map(str, fact)) if isinstance(fact, (list, tuple)) else []


def describe(error: CdcError) -> dict[str, object]:
    """An error as fields of a log line."""
    found: dict[str, object] = {"error": type(error).__name__, "message": str(error)}
    if error.hint:
        found["hint"] = error.hint
    return found
