"""A world with its own time: an event loop whose clock jumps to whatever comes next, and the machines in it.

What one must know to change it:

* Nothing waits: when nothing is ready the clock is set to the next timer. A minute of
  back-offs costs as much as the code that runs in it.
* `time.monotonic` and `time.time` are the loop's while it runs (`virtual_time`), because
  aiokafka and we ourselves look at them.
* Every task belongs to a `Host`, by a context variable that tasks and callbacks inherit. A
  frozen host's callbacks are parked and run after it thaws, in their order, as after
  SIGSTOP and SIGCONT. A killed one's never run again, until `reap` lets them unwind.
* A loop in which nothing can happen any more, whose time is up, or that spins without end
  raises `Hang`: that is a finding, not an accident.
"""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any
from weakref import WeakKeyDictionary

SPINS = 3_000_000
"""Callbacks of one run: more is a loop that never waits."""


class Hang(Exception):
    """Nothing will ever happen again, or not within the time it may take."""


class Host:
    """A process on a machine of its own. None as a host is the test itself, which is never frozen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = self.dead = False
        self.parked: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return self.name


HOST: ContextVar[Host | None] = ContextVar("HOST", default=None)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, on virtual time. `connect` makes connections out of nothing."""

    def __init__(self, *, until: float = 3600.0) -> None:
        super().__init__()
        self.now, self.until, self.spins = 0.0, until, 0
        self.epoch = _wall()
        self.connect: Callable[[Host | None, asyncio.Protocol, int], asyncio.Transport] | None = None
        self.dice = random.Random(0)
        self.hosts: list[Host] = []
        self.roots: list[asyncio.Task[Any]] = []
        self._owners: WeakKeyDictionary[asyncio.Task[Any], Host] = WeakKeyDictionary()
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self.now

    async def create_connection(self, protocol_factory, host=None, port=None, **options):  # type: ignore[override]
        assert self.connect is not None
        protocol = protocol_factory()
        return self.connect(HOST.get(), protocol, port), protocol

    def _process_events(self, event_list: object) -> None:
        """No sockets, no events."""

    def _write_to_self(self) -> None:
        """No other threads to wake this one."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are thrown away when their time comes."""

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Hang("nothing is left that could happen")
            self.now = max(self.now, timers[0]._when)
            if self.now > self.until:
                raise Hang(f"not done after {self.until:.0f} virtual seconds")
        while timers and timers[0]._when <= self.now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            host = handle._context.get(HOST)
            if host is not None and host.frozen:
                host.parked.append(handle)
                continue
            self.spins += 1
            handle._run()
        if self.spins > SPINS:
            raise Hang(f"busy without end at {self.now:.3f} virtual seconds")

    def _new_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        host = context.get(HOST) if context is not None else HOST.get()
        if host is not None:
            self._owners[task] = host
        return task

    def left_by(self, host: Host) -> list[asyncio.Task[Any]]:
        """Tasks of this host that are not done."""
        return [task for task in asyncio.all_tasks(self) if self._owners.get(task) is host and not task.done()]

    def thaw(self, host: Host) -> None:
        """Let a frozen host go on, with all that came while it was frozen."""
        host.frozen = False
        self._ready.extend(host.parked)
        host.parked.clear()


def spawn(host: Host, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Start a task that belongs to this host, as will all that it starts."""
    context = copy_context()
    context.run(HOST.set, host)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    if host not in loop.hosts:
        loop.hosts.append(host)
    task = loop.create_task(work, name=name, context=context)
    loop.roots.append(task)
    return task


_wall, _steady = time.time, time.monotonic


@contextmanager
def virtual_time(loop: VirtualLoop) -> Iterator[None]:
    """Let everybody who asks for the time be told the loop's."""
    time.monotonic, time.time = (lambda: loop.now), (lambda: loop.epoch + loop.now)
    try:
        yield
    finally:
        time.monotonic, time.time = _steady, _wall


def run(main: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    """Run to the end, then end all that is left and take the loop down. Raises what `main` raises, and Hang."""
    asyncio.set_event_loop(None)
    with virtual_time(loop):
        try:
            return loop.run_until_complete(main)
        finally:
            loop.until = loop.now + 600
            loop.spins = 0
            _end_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def _end_all(loop: VirtualLoop) -> None:
    for turn in range(5):
        # a process's own tasks are ended by its first one, in its order
        tasks = loop.roots if turn == 0 else asyncio.all_tasks(loop)
        left = [task for task in tasks if not task.done()]
        if not left:
            continue
        for host in loop.hosts:
            host.dead = True  # nobody reaches the network any more
            loop.thaw(host)
        loop.run_until_complete(asyncio.sleep(0.01))  # broken connections are noticed
        for task in left:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(left, timeout=60))
        except Hang:
            return
