"""`cdc` as users run it: a configuration of one source in a folder of its own, and the command as a process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cdc.cli.root import root
from cdc.errors import CdcError
from cdc.settings import load
from cdc.tailer.run import Options, run_tailer
from tests.servers import Database, Kafka, until

CDC = Path(sys.executable).with_name("cdc")
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""In the environment of every process that is started: as installed modules are, ours are compiled once, not at each start."""


@dataclass
class Ended:
    """What a command left: exit code, and what it printed."""

    code: int
    out: str
    err: str


def cdc(*arguments: object, env: Mapping[str, str] | None = None, seconds: float = 120) -> Ended:
    """Run a command of cdc to its end."""
    done = subprocess.run(
        [CDC, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **COMPILED, **(env or {})},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Tailing:
    """A configuration file with one source, and the commands that use it."""

    folder: Path
    server: Database
    kafka: Kafka
    source: str
    tables: Mapping[str, Mapping[str, Any]]
    prefix: str
    start: str = "earliest"
    more: Mapping[str, Any] = field(default_factory=dict)
    source_more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The file, written anew."""
        path = self.folder / f"{self.source}.yaml"
        own_login = {"url", "host", "user", "password", "password_file"} & self.source_more.keys()
        server = self.server if own_login else self.server.hushed()
        source = {"url": server.url, "tables": self.tables, "start": self.start, **self.source_more}
        whole = {
            "sources": {self.source: source},
            "kafka": {"bootstrap_servers": [self.kafka.bootstrap], "prefix": self.prefix},
            "http": {"listen": "127.0.0.1:0"},  # many run at once
            **self.more,
        }
        path.write_text(json.dumps(whole))  # JSON is YAML
        return path

    @property
    def checkpoint_topic(self) -> str:
        return f"{self.prefix}.checkpoint.{self.source}"

    def catch_up(self, *arguments: str, seconds: float = 120) -> Ended:
        """Publish what is in the log up to now."""
        return cdc(
            "tailer", "run", "-c", self.config, "--until-caught-up", "--instance", "test", *arguments, seconds=seconds
        )

    def show(self) -> Any:
        """What `cdc checkpoint show` says of the source."""
        return json.loads(cdc("checkpoint", "show", "-c", self.config, "-o", "json").out)[self.source]

    def run(self, *arguments: str, name: str = "test") -> "Process":
        """Start the service."""
        return Process.start(self.folder, [CDC, "tailer", "run", "-c", self.config, "--instance", name, *arguments])


@dataclass
class Process:
    """A tailer that runs; its log is in a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, folder: Path, command: Sequence[object], env: Mapping[str, str] | None = None) -> "Process":
        number = len(list(folder.glob("tailer-*.log")))
        log = folder / f"tailer-{number:03}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **COMPILED, **(env or {})},
            )
        return cls(popen, log)

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def await_line(self, event: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until it says something; one that ended without a word of it is not waited for."""

        def found() -> dict[str, Any] | None:
            ended = self.popen.poll()
            line = next((line for line in self.said() if line["event"] == event), None)
            if line is None and ended is not None:
                raise AssertionError(
                    f"it ended with {ended}, and never said {event!r}:\n{self.log.read_text()[-3000:]}"
                )
            return line

        try:
            return until(repr(event), found, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from error

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, *, seconds: float = 60) -> int:
        """SIGTERM; the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)


def cdc_here(*arguments: object) -> Ended:
    """A command of cdc in this process: no start of a Python for each of many."""
    done = CliRunner().invoke(root, [str(one) for one in arguments], prog_name="cdc")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def caught_up_here(tailing: Tailing) -> CdcError | None:
    """Publish what is in the log up to now, in this process; the error that ended it."""
    options = Options(until_caught_up=True, instance="test")
    [outcome] = asyncio.run(run_tailer(load(tailing.config), options))
    return outcome.error
