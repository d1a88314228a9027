"""Topic names: what Kafka takes, and what a row may never address.

The rule of DESIGN 4.4: whatever a row or a template says, no record of a row goes to a
topic of ours (`<prefix>.*`) or an internal one (`__*`). "In any spelling": case is
ignored, and `_` counts as `.` in the names of the topics we make, because Kafka itself
takes `a.b` and `a_b` for a collision. The check comes last, on the finished name.

Several prefixes may share a cluster. What has the name of another one's checkpoint or dead-letter
topic (`x.checkpoint.y`, `x.dead-letters`) is refused as well: a record in it, in an open transaction, would
hide that source's checkpoint. One that is not that has to be named in `topics.allow`, letter by
letter: a glob that happens to match does not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cdc.errors import RowRefused, TopicInvalid, TopicNotAllowed
from cdc.routing import globs

MAX_TOPIC = 249
_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_OWN = ("checkpoint", "dead-letters")
_ANOTHERS = re.compile(r"[a-z][a-z0-9_-]{0,30}\.(?:checkpoint\.[a-z][a-z0-9_-]{0,40}|dead-letters)")


def shorten(text: str, limit: int = 80) -> str:
    """A value for a message: quoted, and cut where it is long."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


class TopicNames:
    """The judge of finished topic names for one prefix and one `topics.allow`."""

    __slots__ = ("_allow", "_dotted", "_own", "_prefix")

    def __init__(self, prefix: str, allow: Sequence[str] = ()) -> None:
        self._prefix = prefix
        self._allow = tuple(allow)
        self._dotted = prefix.casefold() + "."
        self._own = tuple(_canonical(f"{prefix}.{name}") for name in _OWN)

    def reserved(self, topic: str) -> bool:
        """Is it (or, for the literal head of a template, will it be) one of ours or an internal one?"""
        return (
            topic.startswith("__")
            or topic.casefold().startswith(self._dotted)
            or _canonical(topic).startswith(self._own)
        )

    def check(self, topic: str) -> None:
        """Raise TopicInvalid or TopicNotAllowed."""
        if error := self.verdict(topic):
            raise error

    def verdict(self, topic: str) -> RowRefused | None:
        """The error for this name, or None."""
        # Before legality, so that the answer about our own topics never depends on another rule.
        if self.reserved(topic):
            return TopicNotAllowed(
                f"topic {shorten(topic)} is reserved: rows may not address {self._prefix}.* or __* topics",
                hint="Correct the row's writer, or send such rows elsewhere with a route that sets another topic.",
            )
        if topic in {".", ".."} or not _LEGAL.fullmatch(topic):
            return TopicInvalid(
                f"topic {shorten(topic)} is not a name Kafka takes: 1 to {MAX_TOPIC} letters, digits, '.', '_' or '-'",
                hint="Correct the row's writer, or give these rows a topic with a route.",
            )
        if _ANOTHERS.fullmatch(topic) and topic not in self._allow:
            return TopicNotAllowed(
                f"topic {shorten(topic)} has the name of another cdc's own topic (another kafka.prefix)",
                hint="Send such rows elsewhere; if it is an ordinary topic, write its whole name into topics.allow.",
            )
        if self._allow and not any(globs.matches(glob, topic) for glob in self._allow):
            return TopicNotAllowed(
                f"topic {shorten(topic)} is not in topics.allow",
                hint="Add it to topics.allow, or route these rows to a topic that is there.",
            )
        return None


def _canonical(topic: str) -> str:
    return topic.casefold().replace("_", ".")
