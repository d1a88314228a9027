"""The processes of the demo: two services, and the tailer that is killed.

All of them are ended when the demo ends, however it ends; a tailer that a killed demo left behind is found by its pid
file and ended by the next one (only if it really is a tailer of our configuration file).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.demo.errors import DemoError
from infra.demo.stage import Stage
from infra.stack.places import Places

SERVICES = Path(__file__).parent / "services"
CDC = (str(Path(sys.executable).with_name("cdc")),)
INSTANCE = "demo"
_DRAIN = 60.0
_LAST_LINES = 8


def cqrs_python() -> str:
    """Return the interpreter that has python-cqrs 5.x."""
    path = Places.from_environment().cache / "venvs" / "cqrs-5" / "bin" / "python"
    if not path.exists():
        raise DemoError(f"there is no {path}, the venv with python-cqrs 5.x", "run `make demo`, which makes it")
    return str(path)


def _tail(log: Path) -> str:
    """Return the last lines of a log; of the tailer's, what it wrote for people, if it did."""
    lines = log.read_text(errors="replace").rstrip().splitlines() if log.exists() else []
    lines = [line for line in lines if not line.startswith("{")] or lines
    return "".join(f"\n    {line}" for line in lines[-_LAST_LINES:])


class Service:
    """One run of a sample service as a process."""

    def __init__(self, name: str, python: str, program: str, log: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [python, str(SERVICES / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    @property
    def done(self) -> bool:
        """Has it ended? Raises where it failed."""
        code = self._process.poll()
        if code:
            raise DemoError(
                f"the sample service '{self.name}' failed ({code}):{_tail(self._log)}", f"all of it: {self._log}"
            )
        return code is not None

    def lines(self, tick: Callable[[], None], seconds: float = 60.0) -> list[dict[str, Any]]:
        """Wait for its end; return what it printed."""
        waited = 0.0
        while True:
            try:
                out, _ = self._process.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                waited += 0.2
                tick()
                if waited > seconds:
                    raise DemoError(f"the sample service '{self.name}' hangs", f"what it said: {self._log}") from None
                continue
            assert self.done  # noqa: S101 - raises where it failed
            return [json.loads(line) for line in out.splitlines()]

    def end(self) -> None:
        """End it if it runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class Crew:
    """Everybody who works in the demo."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._services: list[Service] = []
        self._tailer: subprocess.Popen[bytes] | None = None
        self.tailer_log = stage.folder / "tailer.log"
        self.tailer_log.unlink(missing_ok=True)
        self._pid_file = stage.folder / "tailer.pid"
        self._end_leftover()

    def shop(self, what: str, *arguments: str) -> Service:
        """Start the shop."""
        url = self._stage.url("pymysql", self._stage.shop)
        return self._serve("shop", sys.executable, "shop.py", (what, url, self._stage.orders_topic, *arguments))

    def meetings(self, what: str, *arguments: str) -> Service:
        """Start the python-cqrs service."""
        url = self._stage.url("asyncmy", self._stage.meetings)
        return self._serve(
            "meetings", cqrs_python(), "meetings.py", (what, url, self._stage.meetings_topic, *arguments)
        )

    def _serve(self, name: str, python: str, program: str, arguments: Sequence[str]) -> Service:
        service = Service(name, python, program, self._stage.folder / f"{name}.log", arguments)
        self._services.append(service)
        return service

    @property
    def tailer_command(self) -> tuple[str, ...]:
        """What is started; the same again after the kill."""
        return (*CDC, "tailer", "run", "-c", str(self._stage.config), "--instance", INSTANCE)

    def start_tailer(self) -> int:
        """Start the tailer; return its pid."""
        with self.tailer_log.open("ab") as log:
            self._tailer = subprocess.Popen(self.tailer_command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._pid_file.write_text(str(self._tailer.pid))
        return self._tailer.pid

    def check_tailer(self) -> None:
        """Raise where it ended by itself."""
        if self._tailer is None or self._tailer.poll() is not None:
            code = None if self._tailer is None else self._tailer.returncode
            raise DemoError(
                f"the tailer ended by itself ({code}):{_tail(self.tailer_log)}", f"all of it: {self.tailer_log}"
            )

    def kill_tailer(self) -> None:
        """SIGKILL: no chance to finish, to release or to say anything."""
        self.check_tailer()
        assert self._tailer is not None  # noqa: S101 - check_tailer has seen it
        self._tailer.send_signal(signal.SIGKILL)
        self._tailer.wait()

    def stop_tailer(self) -> None:
        """SIGTERM: it finishes what it has begun, releases its place and ends with 0."""
        self.check_tailer()
        assert self._tailer is not None  # noqa: S101 - check_tailer has seen it
        self._tailer.terminate()
        try:
            code = self._tailer.wait(_DRAIN)
        except subprocess.TimeoutExpired:
            raise DemoError(
                f"the tailer did not end within {_DRAIN:.0f} s after SIGTERM:{_tail(self.tailer_log)}"
            ) from None
        if code:
            raise DemoError(f"the tailer ended with {code} after SIGTERM:{_tail(self.tailer_log)}")
        self._pid_file.unlink(missing_ok=True)

    def go_home(self) -> None:
        """End whoever still runs."""
        for service in self._services:
            service.end()
        if self._tailer is not None and self._tailer.poll() is None:
            self._tailer.kill()
            self._tailer.wait()
        self._pid_file.unlink(missing_ok=True)

    def _end_leftover(self) -> None:
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(self._stage.config) in command and b"tailer" in command:
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            pass  # none, or it is gone
        self._pid_file.unlink(missing_ok=True)
