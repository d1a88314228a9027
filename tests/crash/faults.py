"""The ways in which a tailer's life ends. Each takes an arena and leaves no tailer behind.

A fault is a function `(arena, rnd) -> Life`, and FAULTS names them with their weights: a
further kind of trouble (a broker, a database, a cut connection) is one more function here.
"""

import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.crash.arena import Arena, Stuck, tail_of

FENCED = 5
STEPS = ("fencing", "fenced", "opening", "opened", "read", "routed", "beginning", "sending", "sent", "committed")
REPEATED = frozenset(STEPS[4:])
"""Steps that happen again and again while records flow."""


@dataclass(slots=True)
class Life:
    """How a life ended, the SIGKILLs it took, and the seconds until records flowed where that was waited for."""

    fault: str
    kills: int = 1
    flows: list[float] = field(default_factory=list)


def flowing(arena: Arena, rnd: random.Random) -> Life:
    """SIGKILL at a random moment while records flow."""
    process = arena.tail()
    took = arena.await_flow(process)
    arena.watcher.wait_for(arena.watcher.count + rnd.randrange(1500), rnd.uniform(0.0, 1.5))
    process.kill()
    return Life("flowing", flows=[took])


def starting(arena: Arena, rnd: random.Random) -> Life:
    """SIGKILL at a random moment of the start."""
    process = arena.tail()
    try:
        process.popen.wait(rnd.uniform(0.5, 2.5))
    except subprocess.TimeoutExpired:
        process.kill()
    else:
        raise Stuck(f"the tailer ended by itself:\n{tail_of(process)}")
    return Life("starting")


def at_step(arena: Arena, rnd: random.Random, moment: str | None = None) -> Life:
    """SIGKILL by its own hand at a named step, or a few milliseconds behind it."""
    if moment is None:
        step = rnd.choice(STEPS)
        moment = f"{step}:{rnd.randint(1, 30)}" if step in REPEATED else step
        moment += rnd.choice(("", "+1", "+3", "+8", "+20"))
    process = arena.tail_to(moment)
    code = arena.await_end(process)
    if code != -signal.SIGKILL:
        raise Stuck(f"meant to die at {moment}, it ended with {code}:\n{tail_of(process)}")
    return Life(f"at {moment.partition(':')[0].partition('+')[0]}")


def frozen(arena: Arena, rnd: random.Random) -> Life:
    """SIGSTOP, a successor under the same name, SIGCONT: the old one must find out by itself, and say so."""
    old = arena.tail()
    took = arena.await_flow(old)
    old.popen.send_signal(signal.SIGSTOP)
    new = arena.tail()
    again = arena.await_flow(new)
    arena.watcher.wait_for(arena.watcher.count + rnd.randrange(1000), 1.0)
    old.popen.send_signal(signal.SIGCONT)
    code = arena.await_end(old)
    if code != FENCED:
        raise Stuck(f"a fenced instance ended with {code}, not {FENCED}:\n{tail_of(old)}")
    if new.popen.poll() is not None:
        raise Stuck(f"the woken instance drove out its successor:\n{tail_of(new)}")
    new.kill()
    return Life("frozen", flows=[took, again])


Fault = Callable[[Arena, random.Random], Life]
FAULTS: dict[Fault, int] = {flowing: 10, at_step: 6, starting: 2, frozen: 2}
