"""No secret in any output, log or error of the whole test run: a plug-in of pytest that looks, and fails the run.

Secrets of tests, passwords of databases, SASL, Connect and connectors, are ``hush-marker-...`` texts. Looked through are

    what tests print and log          captured by pytest, of tests that pass, too
    what commands print               in this process (click's CliRunner) and as processes (subprocess)
    log files                         ``*.log`` of processes in the run's folders for files
    errors                            every text that one of ours is turned into

`pytest_sessionfinish` changes the exit code where one was found. The traceback of a failing test is not looked at: it
shows the test's own lines. It is proved by a leak that is planted in a run of its own (tests/unit/test_hushed.py).
"""

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cdc.errors import CdcError

MARKER = re.compile(r"hush-marker-[a-z0-9-]*")
LEAKS: dict[str, str] = {}
"""Place and marker."""
_counts = {"texts": 0, "files": 0}
_now = {"test": "before the first test"}


def look(what: str, text: object) -> None:
    """Remember a secret that is in the text."""
    if text is None:
        return
    _counts["texts"] += 1
    content = text.decode(errors="replace") if isinstance(text, (bytes, bytearray)) else str(text)
    if found := MARKER.search(content):
        LEAKS.setdefault(f"{what} ({_now['test']})", found[0])


def _after(owner: type, name: str, see: Callable[[Any, Any], None]) -> None:
    """Look at what a method returns."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        see(self, result)
        return result

    setattr(owner, name, wrapped)


def _process(process: Any, result: Any) -> None:
    # only what is ours: the worker's or a database's own words are theirs
    command = process.args if isinstance(process.args, (str, bytes)) else " ".join(map(str, process.args))
    for stream in result or ():
        look(f"output of {str(command)[:80]}", stream)


def _command(_: Any, result: Any) -> None:
    look("output of a command", result.output)
    look("error of a command", result.exception)


def _error(error: Any, text: Any) -> None:
    look(f"message of {type(error).__name__}", text)
    look(f"hint of {type(error).__name__}", error.hint)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to look."""
    del config
    _after(subprocess.Popen, "communicate", _process)
    _after(CliRunner, "invoke", _command)
    _after(CdcError, "__str__", _error)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Know whose text it is."""
    _now["test"] = nodeid


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a test printed and logged."""
    for title, text in report.sections:
        look(title, text)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The files, and the verdict."""
    _now["test"] = "in the run's folders"
    base: Path | None = getattr(session.config._tmp_path_factory, "_basetemp", None)
    for path in sorted(base.rglob("*.log")) if base is not None else ():
        if path.is_file():
            _counts["files"] += 1
            look(f"{path.relative_to(base)}", path.read_bytes())
    if LEAKS and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was looked at."""
    if LEAKS:
        terminalreporter.section("secrets that were told", red=True)
        for place, marker in LEAKS.items():
            terminalreporter.line(f"{marker}: {place}")
    elif _counts["texts"]:
        terminalreporter.line(
            f"no secret of the tests is in {_counts['texts']} texts and {_counts['files']} log files of this run"
        )
