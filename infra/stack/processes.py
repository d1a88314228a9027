"""Starting, finding and ending server processes that are really ours.

A server is recognised by its command line: it holds words that name its own data (``marks``,
for instance ``--datadir=<ours>``). Pid files are written for people and tests, but never
believed: after a crash the number may belong to somebody else, and a starter that was killed
between the start and the writing leaves a server without a file.

Two things about SIGKILL to know: the command line of a killed process is empty at once, but
its port and file locks live on until its last thread is gone, which ``is_gone`` waits for; and
a process that we started ourselves stays as a zombie until it is waited for.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PROC = Path("/proc")


def _command_line(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return []


def is_ours(pid: int, marks: Sequence[str]) -> bool:
    """Tell whether the process has all the marks as words of its command line."""
    words = _command_line(pid)
    return all(mark in words for mark in marks)


def find(marks: Sequence[str]) -> int | None:
    """Return the process that has the marks, if one is alive."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and is_ours(int(entry.name), marks):
            return int(entry.name)
    return None


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended with all its threads."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # not started by us
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        threads = len(list((_PROC / str(pid) / "task").iterdir()))
    except OSError:
        return True
    return state in "ZX" and threads <= 1


def await_gone(pid: int, seconds: float) -> bool:
    """Wait until a process has ended."""
    end = time.monotonic() + seconds
    while not is_gone(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def spawn(command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """Start a server in a session of its own, so that no Ctrl-C and no closed terminal reaches it."""
    # Not subprocess: its object complains when it is thrown away while the process runs on.
    return os.posix_spawn(
        command[0],
        list(command),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def send(pid: int, marks: Sequence[str], sign: signal.Signals) -> bool:
    """Send a signal to a process if it (still) is ours; tell whether it was."""
    # The pidfd holds on to the process that was looked at: its number cannot go to another one between.
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_ours(pid, marks):
            return False
        signal.pidfd_send_signal(handle, sign)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def end(pid: int, marks: Sequence[str], *, patience: float) -> bool:
    """End a process of ours: politely, after ``patience`` seconds by force; tell whether it went politely."""
    if send(pid, marks, signal.SIGTERM):
        send(pid, marks, signal.SIGCONT)  # a frozen one could not hear it
    if await_gone(pid, patience):
        return True
    send(pid, marks, signal.SIGKILL)
    await_gone(pid, 30)
    return False
