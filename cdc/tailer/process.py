"""Settings of the Python process that runs the service, made once, when all is imported and nothing runs yet.

A tailer makes some fifty objects a row and drops them a moment later; next to none of them are in
cycles, so reference counts free them and the cycle collector only looks at them in vain, a tenth of
all processor time by default. What is there after the imports stays until the end.

Only for a process of our own: a program that runs sources inside itself keeps its own settings.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 50_000
"""Objects made and not dropped before the collector looks at them: about one full batch."""
SWITCH_SECONDS = 0.001
"""How long one thread may keep the others waiting. Beside the event loop threads read the log's socket and ask the
server how it is; by default each of their turns may hold up a Kafka transaction in 5 ms steps."""


@contextmanager
def starting() -> Iterator[None]:
    """Import and read what a service needs: nothing of that is garbage, and looking for some is a tenth of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Make this process a service."""
    gc.freeze()  # with the few cycles that imports leave: to find them takes 40 ms, and a restart shall be short
    gc.set_threshold(YOUNG, 10, 10)
    sys.setswitchinterval(SWITCH_SECONDS)
