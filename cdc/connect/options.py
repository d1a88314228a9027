"""Options of a manifest that no plug-in knows: mistyped, or meant for something that lists none.

Connect takes any option and says nothing, so ``poll.interval.mss`` is silently the default. What ``validate`` answers
has every option that the connector, its transforms, predicates and converters define, some of them as patterns
(``column.truncate.to.(d+).chars``, which lost its backslash on the way). An unknown option that is nearly a known one
is taken for a mistake; another one is worth a word. Families with an open end (``producer.override.``...) are let be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cdc.connect.spelling import nearest

_OPEN = (
    "producer.override.",
    "consumer.override.",
    "admin.override.",
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "topic.creation.",
    "internal.",
)
_OPEN_IN_DEBEZIUM = (
    "driver.",
    "schema.history.internal.",
    "signal.",
    "notification.",
    "snapshot.mode.",
    "openlineage.",
)
_ALIKE = 0.85


def unknown(
    config: Mapping[str, str], known: Iterable[str], *, unchecked: Iterable[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """The options that look mistyped, each with the one that was meant; and other ones that nobody knows."""
    names = set(known)
    if not names:
        return {}, []
    patterns = [re.compile(name.replace("(d+)", r"(\d+)")) for name in names if "(" in name]
    families = _families(config)
    mistyped, strange = {}, []
    for name in config:
        if name in names or name in unchecked or name.startswith(families):
            continue
        if any(pattern.fullmatch(name) for pattern in patterns):
            continue
        meant = nearest(name, names - set(config), cutoff=_ALIKE)
        if meant:
            mistyped[name] = meant
        else:
            strange.append(name)
    return mistyped, strange


def _families(config: Mapping[str, str]) -> tuple[str, ...]:
    own = tuple(
        f"{alias.strip()}."
        for key in ("converters", "post.processors")
        for alias in config.get(key, "").split(",")
        if alias.strip()
    )
    debezium = _OPEN_IN_DEBEZIUM if config.get("connector.class", "").startswith("io.debezium.") else ()
    return (*_OPEN, *own, *debezium)
