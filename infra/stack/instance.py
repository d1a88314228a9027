"""One server: its folder, its ports, its process. The shared servers are instances, and so are a test's own.

An instance is known by its folder (``home``). In it ``instance.json`` remembers kind and ports, so
another process, or the next ``up``, finds the same server. Starting is a repair: what runs and answers
is left alone, what died is started on the same data and ports, whatever the dead one left lying about.

``Kind`` is what a sort of server must be able to do; see ``databases``, ``kafka`` and ``connect``.
"""

import json
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from infra.stack import processes
from infra.stack.connect import CONNECT
from infra.stack.databases import MARIADB, MARIADB_118, MYSQL
from infra.stack.kafka import KAFKA
from infra.stack.places import Places, await_free, choose_ports, socket_path, write_whole
from infra.stack.progress import Board
from infra.stack.tools import StackError, tail

START_DEADLINE = 240.0
STOP_PATIENCE = 30.0


class Kind(Protocol):
    """What the stack must know about a sort of server. All methods may be called again and again."""

    @property
    def title(self) -> str:
        """Return what people call it."""

    @property
    def port_names(self) -> tuple[str, ...]:
        """Return what the ports are for; the first is the one clients use."""

    def fetch(self, cache: Path, board: Board) -> None:
        """Bring the programs into the cache."""

    def prepare(self, cache: Path, home: Path, ports: Sequence[int], initial: Sequence[str]) -> None:
        """Make the data folder ``home/data``, whole or not at all."""

    def marks(self, home: Path) -> tuple[str, ...]:
        """Return words of the server's command line that no other server's has."""

    def command(
        self, cache: Path, home: Path, ports: Sequence[int], options: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return command line and environment of the server."""

    def version(self, ports: Sequence[int]) -> str | None:
        """Return the version once the server really answers, else None."""

    def address(self, ports: Sequence[int]) -> str:
        """Return how clients reach it."""


KINDS: dict[str, Kind] = {kind.kind: kind for kind in (MARIADB, MARIADB_118, MYSQL, KAFKA, CONNECT)}


class Instance:
    """A server of some kind in a folder of its own.

    ``options`` are added to the server's own at every start (the last one wins), ``initial`` are those
    with which the data folder is made. Databases take command line options, Kafka and Connect
    ``name=value``.
    """

    def __init__(
        self,
        kind: str,
        home: Path,
        *,
        pid_file: Path | None = None,
        options: Sequence[str] = (),
        initial: Sequence[str] = (),
        cache: Path | None = None,
        board: Board | None = None,
    ) -> None:
        self.kind = kind
        self.home = home
        self.name = home.name
        self.pid_file = pid_file or home / f"{home.name}.pid"
        self.options = list(options)
        self._initial = list(initial)
        self._cache = cache or Places.from_environment().cache
        self._board = board or Board(None)
        self._of = KINDS[kind]
        self.marks = self._of.marks(home)
        self.version: str | None = None

    @classmethod
    def extra(cls, name: str, kind: str, *, options: Sequence[str] = (), initial: Sequence[str] = ()) -> "Instance":
        """Return a server of one's own under ``.stack/extra``; as a context it is started, then removed."""
        return cls(kind, Places.from_environment().extra / name, options=options, initial=initial)

    @classmethod
    def at(cls, home: Path, *, pid_file: Path | None = None, board: Board | None = None) -> "Instance | None":
        """Return the instance somebody made in that folder, if there is one."""
        try:
            kind = json.loads((home / "instance.json").read_text())["kind"]
        except (OSError, ValueError):
            return None
        return cls(kind, home, pid_file=pid_file, board=board)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def ports(self) -> list[int]:
        """The ports, chosen at the first look and kept."""
        memory = self.home / "instance.json"
        if memory.exists():
            known = json.loads(memory.read_text())["ports"]
            return [known[name] for name in self._of.port_names]
        ports = choose_ports(len(self._of.port_names))
        text = json.dumps({"kind": self.kind, "ports": dict(zip(self._of.port_names, ports, strict=True))})
        write_whole(memory, text + "\n")
        return ports

    @property
    def port(self) -> int:
        """The port clients use."""
        return self.ports[0]

    @property
    def address(self) -> str:
        """How clients reach it: ``mysql://root@127.0.0.1:PORT`` or ``127.0.0.1:PORT``."""
        return self._of.address(self.ports)

    @property
    def log(self) -> Path:
        """What the server prints; the run before is beside it in ``log.previous``."""
        return self.home / "log"

    @property
    def pid(self) -> int | None:
        """The server's process, None if it does not run."""
        return processes.find(self.marks)

    def answers(self) -> bool:
        """Tell whether the server really answers now."""
        self.version = self._of.version(self.ports)
        return self.version is not None

    def start(self) -> bool:
        """Start the server unless it runs, wait until it answers; tell whether it had to be started."""
        pid = self.pid
        if pid is not None:
            self._note(pid)
            self._await_answer(pid)
            return False
        self._of.fetch(self._cache, self._board)
        self._await_ground()
        self._of.prepare(self._cache, self.home, self.ports, self._initial)
        command, env = self._of.command(self._cache, self.home, self.ports, self.options)
        if self.log.exists():
            self.log.replace(self.home / "log.previous")
        pid = processes.spawn(command, log=self.log, env=env)
        self._note(pid)
        with self._board.task(f"{self.name}: starting"):
            self._await_answer(pid)
        return True

    def stop(self) -> bool:
        """End the server politely, by force if it takes too long; tell whether it ran."""
        pid = self.pid
        if pid is not None and not processes.end(pid, self.marks, patience=STOP_PATIENCE):
            self._board.say(f"{self.name}: had not stopped after {STOP_PATIENCE:.0f} s, killed")
        self.pid_file.unlink(missing_ok=True)
        return pid is not None

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL) and wait until it is gone; files stay as they are."""
        pid = self.pid
        if pid is not None:
            processes.send(pid, self.marks, signal.SIGKILL)
            processes.await_gone(pid, 30)

    def restart(self, *, options: Sequence[str] | None = None) -> None:
        """Stop and start, with other options if given."""
        self.stop()
        if options is not None:
            self.options = list(options)
        self.start()

    def freeze(self) -> None:
        """Stop its time (SIGSTOP)."""
        processes.send(self.pid or 0, self.marks, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its time go on."""
        processes.send(self.pid or 0, self.marks, signal.SIGCONT)

    def remove(self) -> None:
        """Kill the server and delete all it has."""
        self.kill()
        socket_path(self.home).unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def _note(self, pid: int) -> None:
        write_whole(self.pid_file, f"{pid}\n")

    def _await_ground(self) -> None:
        """Wait for a killed server to let go of its files and ports; refuse ports that others hold."""
        try:
            last = int(self.pid_file.read_text())
        except (OSError, ValueError):
            last = None
        # A dying process has no command line any more; one that has is somebody else's by now.
        if last is not None and not (Path("/proc") / str(last) / "exe").exists():
            processes.await_gone(last, 20)
        for name, port in zip(self._of.port_names, self.ports, strict=True):
            if not await_free(port, seconds=3):
                raise StackError(
                    f"{self.name}: its {name} {port} is held by a process that is not of this stack",
                    f"end that process, or delete {self.home} for new ports and empty data",
                )

    def _await_answer(self, pid: int) -> None:
        end = time.monotonic() + START_DEADLINE
        while not self.answers():
            if processes.is_gone(pid):
                raise StackError(f"{self.name} ended while it started:\n{tail(self.log)}", f"its log: {self.log}")
            if time.monotonic() > end:
                raise StackError(
                    f"{self.name} (process {pid}) runs but does not answer on port {self.port}",
                    f"its log: {self.log}; `make down` ends it, also when it is frozen",
                )
            time.sleep(0.05)
