"""Composition of the service: one pump a source, signals, logs, HTTP, and what is left when all have ended.

The order at the end matters: a signal asks every pump to stop, which commits what was read
and releases the checkpoint; `drain_timeout` later, or at a second signal, what still runs is
cancelled, which loses nothing (the checkpoint tells) but makes a standby wait.

The HTTP side is up before the first source starts and ends after the last, so that a port in use
is said before anything is touched.

A source that ends for good leaves the others running. Failures that may pass are tried
again for ever by the pump; with `until_caught_up` a source that has not worked yet gives up
at the first one, because somebody waits for the end.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from cdc.errors import CdcError
from cdc.kafka import KafkaSink, KafkaTopics, Recipe
from cdc.kafka.parked import ParkedCounter
from cdc.kafka.parking import KafkaParking
from cdc.model import Observer
from cdc.mysql.snapshot_source import SnapshotSource
from cdc.mysql.source import MySqlSource
from cdc.pump import Limits, Pump
from cdc.settings import Settings
from cdc.tailer.http import Service, serve
from cdc.tailer.logs import StepLog, describe
from cdc.tailer.parked import count_forever
from cdc.tailer.status import Status
from cdc.tailer.watch import Watch
from cdc.tailer.watched import WatchedSink, WatchedSource

_log = structlog.get_logger()

_CUT_SHORT = "stopped before all that was read was committed"
_CUT_SHORT_HINT = (
    "nothing is lost: the next start goes on at the checkpoint; a longer service.drain_timeout gives a stop more time"
)
_DEFECT_HINT = "nothing is lost: the checkpoint holds; please report this with the traceback in the log"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beside the configuration."""

    until_caught_up: bool = False
    instance: str | None = None
    take_over: bool = False
    first_start: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a source ended: with the error that ended it, or on purpose."""

    source: str
    error: CdcError | None = None


@dataclass(frozen=True, slots=True)
class Works:
    """One source and all that moves it."""

    name: str
    pump: Pump
    status: Status
    watch: Watch
    parking: KafkaParking


async def run_tailer(
    settings: Settings, options: Options | None = None, *, observer: Callable[[str], Observer] | None = None
) -> list[Outcome]:
    """Tail every source of the configuration until stopped. Errors are outcomes, never raised.

    `observer(source name)` gives one more Observer per source; tests die in it.
    """
    options = options or Options()
    recipe = Recipe(settings.topics.partitions, settings.topics.replication_factor)
    topics = KafkaTopics(
        settings.kafka.address(),
        recipe=recipe if settings.topics.create == "all" else None,
        needed=settings.needed_topics(),
    )
    everything = [_compose(settings, options, name, topics, observer) for name in settings.sources]
    service = Service(_instance(settings, options), [works.status for works in everything])
    try:
        async with serve(service, settings.http.address(), gives_way=not settings.http.is_chosen):
            tasks = [asyncio.create_task(_work(works), name=works.name) for works in everything]
            counter = ParkedCounter(settings.kafka.address(), settings.kafka.prefix)
            counting = asyncio.create_task(count_forever(counter, service.statuses), name="dead letters")
            _log.info("tailer started", sources=list(settings.sources), instance=service.instance)
            async with _signals(everything, tasks, settings.service.drain_timeout):
                listing = asyncio.create_task(topics.keep_fresh())
                try:
                    return list(await asyncio.gather(*tasks))
                finally:
                    counting.cancel()
                    listing.cancel()
                    await asyncio.wait([counting, listing])
    finally:
        await topics.close()


def _instance(settings: Settings, options: Options) -> str:
    return options.instance or settings.service.instance or socket.gethostname()


def _compose(
    settings: Settings,
    options: Options,
    name: str,
    topics: KafkaTopics,
    observer: Callable[[str], Observer] | None,
) -> Works:
    source_settings = settings.source(name)
    status = Status(name, server=str(source_settings.address), ready_lag=settings.service.ready_lag)
    observe = _all_of(StepLog(name), status, *([] if observer is None else [observer(name)]))
    specs = settings.table_specs(name, updates=True)
    source = SnapshotSource(
        MySqlSource(
            name,
            lambda: source_settings.address,
            specs,
            observer=observe,
            server_id=source_settings.server_id,
            statements_allowed_in=source_settings.statements_allowed_in,
            prepared_bytes=source_settings.memory_budget // 2,
            memory_budget=source_settings.memory_budget,
            max_row_bytes=source_settings.max_row_bytes,
        ),
        settings.snapshot_tables(name),
        lambda seen: MySqlSource(
            f"{name}-snapshot",
            lambda: source_settings.address,
            seen,
            observer=_all_of(),
            statements_allowed_in=source_settings.statements_allowed_in,
            deletes=True,
        ),
        observer=observe,
    )
    sink = KafkaSink(
        settings.kafka.address(),
        name,
        instance_name=_instance(settings, options),
        tables=tuple(map(str, specs)),
        observer=observe,
        prefix=settings.kafka.prefix,
        first_start=options.first_start,
        take_over=options.take_over,
        patient=not options.until_caught_up,  # somebody waits for the end
        create_topics=settings.topics.create != "none",
        replication_factor=settings.topics.replication_factor,
        takeover_after=source_settings.takeover_after,
        compression=None if settings.kafka.compression == "none" else settings.kafka.compression,
    )
    parking = KafkaParking(
        settings.kafka.address(),
        name,
        prefix=settings.kafka.prefix,
        needed=settings.parks(),
        create_topics=settings.topics.create != "none",
        replication_factor=settings.topics.replication_factor,
        observer=observe,
    )
    router = settings.router_for(name, topics)
    status.dropped_headers, status.set_aside = router.dropped_headers, lambda: source.set_aside
    pump = Pump(
        WatchedSource(source, status),
        router,
        topics,
        WatchedSink(sink, status),
        observe,
        start=source_settings.first_start,
        until_caught_up=options.until_caught_up,
        limits=Limits(size=min(Limits().size, source_settings.memory_budget // 8)),
        parking=parking,
        stop_on_partition_change=settings.kafka.on_partition_change == "stop",
    )
    return Works(name, pump, status, Watch(status, lambda: source.address), parking)


def _all_of(*observers: Observer) -> Observer:
    def observe(step: str, /, **facts: object) -> None:
        for each in observers:
            each(step, **facts)

    return observe


async def _work(works: Works) -> Outcome:
    """Run one source to its end, whatever that is."""
    watching = asyncio.create_task(works.watch.forever())
    known: CdcError | None = None
    try:
        await works.pump.run()
    except CdcError as error:
        known = error
        _log.error("source ended", source=works.name, **describe(error))
        return Outcome(works.name, error)
    except asyncio.CancelledError:
        known = CdcError(_CUT_SHORT, hint=_CUT_SHORT_HINT)
        return Outcome(works.name, known)
    except Exception as cause:  # noqa: BLE001 - a defect in one source must not end the others
        # What a defect says may hold a piece of a row: for the log, not for the HTTP side.
        known = CdcError(f"a defect: {type(cause).__name__}", hint=_DEFECT_HINT)
        _log.exception("source ended by a defect of ours", source=works.name)
        return Outcome(works.name, CdcError(f"{known}: {cause}", hint=_DEFECT_HINT))
    else:
        return Outcome(works.name)
    finally:
        watching.cancel()
        works.status.ended(known)
        works.watch.report()
        await _let_go(works)


async def _let_go(works: Works) -> None:
    """Close all ends. A signal meanwhile only cuts that short: how the source ended is known already."""
    try:
        await works.pump.close()
        await works.parking.close()
    except asyncio.CancelledError:
        _log.warning("stopped while letting go of Kafka and the database: they find out by themselves")


@asynccontextmanager
async def _signals(everything: list[Works], tasks: list[asyncio.Task[Outcome]], patience: float) -> AsyncIterator[None]:
    """SIGTERM and SIGINT drain; a second one, or the end of patience, cancels; a third does not wait for goodbyes."""
    loop = asyncio.get_running_loop()
    asked: list[asyncio.TimerHandle] = []

    def cancel() -> None:
        for timer in asked:
            timer.cancel()
        for task in tasks:
            task.cancel()

    def stop(number: signal.Signals) -> None:
        if asked:
            cancel()
            return
        _log.info("asked to stop: committing what was read", signal=number.name)
        asked.append(loop.call_later(patience, cancel))
        for works in everything:
            works.pump.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            if asked:  # it is ending: one more must not make a death of an end that has an exit code
                signal.signal(number, signal.SIG_IGN)
        for timer in asked:
            timer.cancel()
