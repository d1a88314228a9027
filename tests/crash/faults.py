"""What happens to a tailer and its servers, each by name. Under load, and all goes on afterwards.

A fault is a function `(arena, rnd) -> seconds`: it finds a tailer that works, makes trouble at a
moment of its own, and leaves a tailer that works; the seconds are those from the end of the
trouble (a server answers again, the network forwards again; of a tailer: its death) until
something that was written after it is visible. FAULTS names them with their weights in a long
campaign: a further kind of trouble is one more function there.

Faults of servers and networks leave the tailer alone: it must outlive them by itself.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.stack import Instance
from tests.crash.arena import Arena, Stuck, tail_of
from tests.proxy import Proxy
from tests.running import Process

FENCED = 5
STANDS_BY = "standing by: another instance works"
STEPS = ("fencing", "fenced", "opening", "opened", "read", "routed", "beginning", "sending", "sent", "committed")
REPEATED = frozenset(STEPS[4:])
"""Steps that happen again and again while records flow."""


@dataclass(frozen=True, slots=True)
class Life:
    """A fault that was lived through, and the seconds until records flowed again."""

    fault: str
    recovery: float


def suffer(arena: Arena, rnd: random.Random, fault: str) -> Life:
    """Let one fault happen, at a random moment."""
    arena.working()
    arena.watcher.wait_for(arena.watcher.count + rnd.randrange(1000), rnd.uniform(0.0, 1.0))
    return Life(fault, FAULTS[fault](arena, rnd))


# -- the tailer --------------------------------------------------------------------------------


def tailer_killed(arena: Arena, _rnd: random.Random) -> float:
    """SIGKILL while records flow."""
    arena.working().kill()
    return revived(arena)


def revived(arena: Arena) -> float:
    """An ordinary start after a death."""
    since = arena.now()
    arena.tailer = arena.tail(name=arena.instance)
    return arena.await_flow(arena.tailer, since)


def killed_while_starting(arena: Arena, rnd: random.Random) -> float:
    """SIGKILL, and another one at a random moment of the next start."""
    arena.working().kill()
    process = arena.tail(name=arena.instance)
    try:
        process.popen.wait(rnd.uniform(0.3, 2.5))
    except subprocess.TimeoutExpired:
        process.kill()
    else:
        raise Stuck(f"the tailer ended by itself:\n{tail_of(process)}")
    return revived(arena)


def killed_at_step(arena: Arena, rnd: random.Random, moment: str | None = None) -> float:
    """SIGKILL by its own hand at a named step, or a few milliseconds behind it."""
    if moment is None:
        step = rnd.choice(STEPS)
        moment = f"{step}:{rnd.randint(1, 30)}" if step in REPEATED else step
        moment += rnd.choice(("", "+1", "+3", "+8", "+20"))
    arena.retire()
    process = arena.tail_to(moment, name=arena.instance)
    code = arena.await_end(process)
    if code != -signal.SIGKILL:
        raise Stuck(f"meant to die at {moment}, it ended with {code}:\n{tail_of(process)}")
    return revived(arena)


# -- frozen tailers ----------------------------------------------------------------------------


def zombie(arena: Arena, rnd: random.Random) -> float:
    """SIGSTOP, a successor under the same name, SIGCONT: the old one must find out by itself, and say so."""
    old = arena.working()
    old.popen.send_signal(signal.SIGSTOP)
    took = revived(arena)
    arena.watcher.wait_for(arena.watcher.count + rnd.randrange(1000), 1.0)
    _wakes_and_ends(arena, old)
    return took


def zombie_with_standby(arena: Arena, rnd: random.Random) -> float:
    """SIGSTOP while another instance stands by: that one takes over after the silence, the old one wakes and ends."""
    old = arena.working()
    arena.instance = f"n{rnd.randrange(10**6)}"
    new = arena.tail(name=arena.instance)
    new.await_line(STANDS_BY)
    old.popen.send_signal(signal.SIGSTOP)
    arena.tailer = new
    took = arena.await_flow(new, arena.now())
    _wakes_and_ends(arena, old)
    return took


def _wakes_and_ends(arena: Arena, old: Process) -> None:
    old.popen.send_signal(signal.SIGCONT)
    code = arena.await_end(old)
    if code != FENCED:
        raise Stuck(f"a fenced instance ended with {code}, not {FENCED}:\n{tail_of(old)}")
    if arena.working().popen.poll() is not None:
        raise Stuck(f"the woken instance drove out its successor:\n{tail_of(arena.working())}")


def frozen(arena: Arena, rnd: random.Random) -> float:
    """SIGSTOP for a while and SIGCONT, with nobody else there: it goes on."""
    process = arena.working()
    process.popen.send_signal(signal.SIGSTOP)
    time.sleep(rnd.choice((0.2, 1.0, 4.0)))
    process.popen.send_signal(signal.SIGCONT)
    return arena.await_flow(process, arena.now())


# -- servers -----------------------------------------------------------------------------------


def broker_killed(arena: Arena, rnd: random.Random) -> float:
    """SIGKILL of the broker, and its start on the same data."""
    return _server_killed(arena, arena.site.broker, rnd)


def database_killed(arena: Arena, rnd: random.Random) -> float:
    """SIGKILL of the database, and its start on the same data."""
    return _server_killed(arena, arena.site.server, rnd)


def broker_and_tailer_killed(arena: Arena, rnd: random.Random) -> float:
    """Both at once; the tailer starts while the broker does."""
    return _both_killed(arena, arena.site.broker, rnd)


def database_and_tailer_killed(arena: Arena, rnd: random.Random) -> float:
    """Both at once; the tailer starts while the database does."""
    return _both_killed(arena, arena.site.server, rnd)


def _server_killed(arena: Arena, server: Instance, rnd: random.Random) -> float:
    server.kill()
    time.sleep(rnd.choice((0.0, rnd.uniform(0.0, 2.0))))
    server.start()
    return arena.await_flow(arena.working(), arena.now())


def _both_killed(arena: Arena, server: Instance, rnd: random.Random) -> float:
    tailer = arena.working()
    first, second = rnd.sample((tailer.kill, server.kill), 2)
    first()
    second()
    arena.tailer = arena.tail(name=arena.instance)
    server.start()
    return arena.await_flow(arena.tailer, arena.now())


def broker_frozen(arena: Arena, rnd: random.Random) -> float:
    """SIGSTOP of the broker for a while."""
    broker = arena.site.broker
    broker.freeze()
    time.sleep(rnd.choice((0.5, 2.0, 5.0)))
    broker.thaw()
    return arena.await_flow(arena.working(), arena.now())


# -- networks ----------------------------------------------------------------------------------


def cut_from_database(arena: Arena, rnd: random.Random) -> float:
    """RST for every connection to the database, once or a few times."""
    return _cut(arena, arena.site.to_database, rnd)


def cut_from_kafka(arena: Arena, rnd: random.Random) -> float:
    """RST for every connection to Kafka, once or a few times."""
    return _cut(arena, arena.site.to_kafka, rnd)


def stalled_from_database(arena: Arena, rnd: random.Random, seconds: float | None = None) -> float:
    """Not a byte goes through to the database or back, for a while."""
    return _stalled(arena, arena.site.to_database, rnd, seconds)


def stalled_from_kafka(arena: Arena, rnd: random.Random, seconds: float | None = None) -> float:
    """Not a byte goes through to Kafka or back, for a while; requests may arrive when they are long given up."""
    return _stalled(arena, arena.site.to_kafka, rnd, seconds)


def _cut(arena: Arena, proxy: Proxy, rnd: random.Random) -> float:
    for _ in range(rnd.choice((1, 1, 2, 4))):
        proxy.cut()
        time.sleep(rnd.choice((0.0, 0.05, 0.4)))
    return arena.await_flow(arena.working(), arena.now())


def _stalled(arena: Arena, proxy: Proxy, rnd: random.Random, seconds: float | None) -> float:
    proxy.stall()
    time.sleep(seconds or rnd.choices((0.5, 2.0, 5.0, 12.0, 33.0), (30, 30, 30, 8, 2))[0])
    proxy.resume(late=rnd.random() < 0.5)
    return arena.await_flow(arena.working(), arena.now())


FAULTS: dict[str, Callable[[Arena, random.Random], float]] = {
    "tailer killed": tailer_killed,
    "tailer killed at a step": killed_at_step,
    "tailer killed while starting": killed_while_starting,
    "zombie": zombie,
    "zombie, standby": zombie_with_standby,
    "tailer frozen": frozen,
    "broker killed": broker_killed,
    "broker frozen": broker_frozen,
    "broker and tailer killed": broker_and_tailer_killed,
    "database killed": database_killed,
    "database and tailer killed": database_and_tailer_killed,
    "cut from database": cut_from_database,
    "cut from Kafka": cut_from_kafka,
    "stalled from database": stalled_from_database,
    "stalled from Kafka": stalled_from_kafka,
}
WEIGHTS = dict(zip(FAULTS, (25, 20, 6, 6, 2, 3, 7, 3, 3, 7, 3, 5, 6, 4, 5), strict=True))
"""How often each comes in a long campaign."""
