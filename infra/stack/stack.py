"""The shared servers together: what ``make up`` and ``make down`` do, and ``.stack/env``.

One lock per stack folder makes two ``up`` at once safe: the second waits and finds all running.
Servers are fetched and started at the same time, each in a thread; what fails does not stop the
others, and all failures are told at the end. ``.stack/env`` names the servers that answer now.

Kafka Connect lives on Kafka: it is started after it and stopped before it.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.stack.instance import KINDS, Instance
from infra.stack.kafka import java_version
from infra.stack.places import Places, locked, write_whole
from infra.stack.progress import Board
from infra.stack.tools import StackError

SHARED = {
    "mariadb": "CDC_TEST_MARIADB",
    "mysql": "CDC_TEST_MYSQL",
    "kafka": "CDC_TEST_KAFKA",
    "connect": "CDC_TEST_CONNECT",
}
"""The servers ``up`` can start, and the variable of ``.stack/env`` that says where each is."""

PRODUCT = {"mariadb": "MariaDB", "mysql": "MySQL", "kafka": "Kafka", "connect": "Kafka Connect"}


class Stack:
    """The shared servers of one stack folder."""

    def __init__(self, places: Places, board: Board) -> None:
        self._places = places
        self._board = board

    def instance(self, name: str) -> Instance:
        """Return a shared server, whether it runs or not."""
        home = self._places.stack / name
        return Instance(
            name, home, pid_file=self._places.pids / f"{name}.pid", cache=self._places.cache, board=self._board
        )

    def up(self, names: Sequence[str]) -> None:
        """Start what of these does not run, and write ``env``; with Connect goes Kafka."""
        with self._lock():
            failures = self._each([self.instance(name) for name in names if name != "connect"], self._start)
            if "connect" in names and not failures:
                connect = self.instance("connect")
                connect.options.append(f"bootstrap.servers={self.instance('kafka').address}")
                failures = self._each([connect], self._start)
            self._write_env()
        if failures:
            raise failures[0] if len(failures) == 1 else _all_of(failures)
        self._board.say(f"ready; addresses are in {self._places.env}")

    def fetch(self, names: Sequence[str]) -> None:
        """Bring what these are made of into the cache, so that a test that starts one does not wait for a download."""
        for name in names:
            KINDS[name].fetch(self._places.cache, self._board)

    def down(self) -> None:
        """Stop everything that runs of this stack, servers of tests included."""
        with self._lock():
            self._stop_all()

    def reset(self) -> None:
        """Stop everything and delete the data."""
        with self._lock():
            self._stop_all()
            for home in self._homes():
                shutil.rmtree(home)
            shutil.rmtree(self._places.extra, ignore_errors=True)
            self._board.say("data deleted; the next up starts from nothing, without a download")

    def status(self) -> bool:
        """Print how each server is; tell whether all that have data run and answer."""
        instances = [self.instance(home.name) for home in self._homes() if home.name in SHARED]
        for instance in instances:
            pid = instance.pid
            if pid is None:
                self._board.say(f"{instance.name}: not running")
            elif instance.answers():
                self._board.say(f"{self._met(instance)} on {instance.address}, process {pid}")
            else:
                self._board.say(f"{instance.name}: process {pid} does not answer on {instance.address}")
        if not instances:
            self._board.say("nothing here yet: `make up`")
        return bool(instances) and all(instance.version for instance in instances)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with ExitStack() as held:
            with self._board.task("waiting for another `make up` or `make down`"):
                held.enter_context(locked(self._places.stack / "lock"))
            yield

    def _homes(self) -> list[Path]:
        return sorted(memory.parent for memory in self._places.stack.glob("*/instance.json"))

    def _start(self, instance: Instance) -> None:
        began = time.monotonic()
        started = instance.start()
        how = f"started in {time.monotonic() - began:.1f} s" if started else "was running"
        java = f", Java {java_version()}" if instance.kind in ("kafka", "connect") else ""
        self._board.say(f"{self._met(instance)} on {instance.address} ({how}{java})")

    @staticmethod
    def _met(instance: Instance) -> str:
        return f"{PRODUCT[instance.kind]} {instance.version}"

    def _stop_all(self) -> None:
        shared = [self.instance(home.name) for home in self._homes() if home.name in SHARED]
        extra = [Instance.at(memory.parent) for memory in self._places.extra.glob("*/instance.json")]
        running = [*shared, *(instance for instance in extra if instance)]
        failures = self._each([instance for instance in running if instance.kind == "connect"], self._stop)
        failures += self._each([instance for instance in running if instance.kind != "connect"], self._stop)
        if failures:
            raise _all_of(failures)
        self._write_env()

    def _stop(self, instance: Instance) -> None:
        with self._board.task(f"{instance.name}: stopping"):
            ran = instance.stop()
        self._board.say(f"{instance.name}: {'stopped' if ran else 'was not running'}")

    def _each(self, instances: Sequence[Instance], action: Callable[[Instance], None]) -> list[StackError]:
        failures = []
        with ThreadPoolExecutor(max_workers=max(1, len(instances))) as pool:
            for future in [pool.submit(action, instance) for instance in instances]:
                try:
                    future.result()
                except StackError as error:
                    failures.append(error)
        return failures

    def _write_env(self) -> None:
        lines = []
        for name, variable in SHARED.items():
            if not (self._places.stack / name / "instance.json").exists():
                continue
            instance = self.instance(name)
            if instance.pid is not None and instance.answers():
                lines.append(f"{variable}={instance.address}\n")
        write_whole(self._places.env, "".join(lines))


def _all_of(failures: Sequence[StackError]) -> StackError:
    return StackError(
        "\n".join(str(error) for error in failures),
        "; ".join(dict.fromkeys(error.hint for error in failures if error.hint)),
    )
