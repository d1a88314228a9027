"""Errors of the stack and the foreign programs it calls.

Every failure that a person can do something about is a ``StackError``: one sentence that
names the thing, and a hint. ``run`` keeps what a program printed in a log file and shows
its last lines when it fails. ``twice`` is the only place that repeats anything: a fetch
that fails is tried once more, then it is an error; nothing is ever skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_HOW_TO_GET = {
    "apt-get": "it is part of every Debian; other systems cannot run this stack",
    "apt-config": "it is part of every Debian (package apt)",
    "dpkg": "it is part of every Debian",
    "dpkg-deb": "it is part of every Debian (package dpkg)",
    "tar": "apt-get install tar",
    "java": "apt-get install openjdk-17-jre-headless",
    "mvn": "apt-get install maven",
}

FETCH_DEADLINE = 900.0
"""Seconds after which a package manager that is still fetching is given up."""


class StackError(Exception):
    """What went wrong in one sentence, and in ``hint`` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MissingToolError(StackError):
    """A program that is needed is not on this machine."""


class CommandError(StackError):
    """A program failed; the message carries the end of what it printed."""


class FetchError(StackError):
    """Something could not be fetched, twice."""


def require(tool: str) -> str:
    """Return the path of a program, or raise the error that says how to get it."""
    path = shutil.which(tool)
    if path is None:
        raise MissingToolError(f"the program '{tool}' is missing on this machine", _HOW_TO_GET.get(tool, ""))
    return path


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, indented for an error message."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-lines:])


def run(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
    deadline: float = FETCH_DEADLINE,
) -> None:
    """Run a program to its end, its output appended to ``log``; raise CommandError when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    name = Path(command[0]).name
    with log.open("ab") as out, (stdin or Path(os.devnull)).open("rb") as source:
        try:
            done = subprocess.run(
                command, stdin=source, stdout=out, stderr=out, env=env, timeout=deadline, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise CommandError(f"{name} had not ended after {deadline:.0f} s", f"its output: {log}") from None
        except OSError as error:
            raise CommandError(f"{name} could not be started: {error}") from error
    if done != 0:
        raise CommandError(f"{name} failed ({done}):\n{tail(log)}", f"all it printed: {log}")


def output(command: Sequence[str]) -> str:
    """Return what a program prints on both streams, whether it succeeds or not."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
    )
    return done.stdout.decode(errors="replace")


def twice(what: str, attempt: Callable[[], None], say: Callable[[str], None]) -> None:
    """Call ``attempt``; after a failed command once more; then raise FetchError."""
    try:
        attempt()
    except CommandError as first:
        say(f"{what}: {first}\n{what}: the fetch failed, trying once more")
    else:
        return
    try:
        attempt()
    except CommandError as second:
        raise FetchError(
            f"{what} could not be fetched (tried twice): {second}",
            second.hint + "; is the network there, and does the package manager work by hand?",
        ) from second
