"""What `cdc schemas` works with: the EventMap of a module that is imported, and the topics that routes choose.

A module is imported as Python would from the current folder, so that a service's own events are found.
`package.module` means the shared map it fills, `package.module:NAME` a map (or a function that
gives one) of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from cdc.errors import ConfigError
from cdc.operations.route_test import Target, made_up, tried
from cdc.outbox.registry import EventMap, Registered
from cdc.schema.asyncapi import Topics
from cdc.settings import Settings


def event_map(names: Iterable[str]) -> EventMap:
    """The one map of all these modules. Raises ConfigError where a module, a name or every event is missing."""
    maps: list[EventMap] = []
    told = list(names)
    for name in told:
        found = _one(name)
        if found not in maps:
            maps.append(found)
    if len(maps) == 1:
        whole = maps[0]
    else:
        whole = EventMap()
        for one in maps:
            for registered in one.registered():
                whole.enter(registered)
    if not any(True for _ in whole.registered()):
        raise ConfigError(
            f"no event is registered by {', '.join(told)}",
            hint="Name the module that calls EventMap.register(...), or MODULE:NAME for an EventMap() of its own.",
        )
    return whole


def _one(name: str) -> EventMap:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the users' module raises, this is the place it comes from
        raise ConfigError(
            f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}",
            hint="Modules are found from the current folder and PYTHONPATH: -e package.module[:NAME]",
        ) from error
    if not attribute:
        return EventMap.shared()
    found = getattr(module, attribute, None)
    if isinstance(found, type) and issubclass(found, EventMap):
        return EventMap.shared()
    if callable(found):
        found = found()
    if not isinstance(found, EventMap):
        raise ConfigError(
            f"{name} is {'not there' if found is None else f'a {type(found).__name__}'}, and no EventMap",
            hint="Name an EventMap, or leave :NAME out for the shared one.",
        )
    return found


def routed(settings: Settings) -> Topics:
    """Where the configuration's routes send an event; its own topic where no row can be made up for it."""
    target = Target.find(settings, None, None)

    def topic_of(event: Registered, own: str | None) -> str | None:
        if own is not None and "{" in own:
            return own  # each event's own: nothing to be tried with
        row = made_up(settings, target, {"event_name": event.event_name, "topic": own or "unknown"})
        [found] = asyncio.run(tried(settings, target, [row], partitions=1))
        if found.record is None:
            return own
        return None if own is None and found.record.topic == "unknown" else found.record.topic

    return topic_of
