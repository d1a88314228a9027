"""Writers at a steady rate, and what each has committed.

Each of them has its own keys and one connection, so the order in which it writes is the order of its keys. Besides single
rows there are transactions of several INSERTs with another table between them, long ones (so that somebody who stops
does so inside of one), and such as are rolled back. None to a savepoint: Debezium publishes what was undone there.
"""

import json
import random
import threading
import time
from typing import Self

from tests.handover.judge import Kept
from tests.servers import Database

TABLES = (
    """CREATE TABLE outbox (
      id CHAR(36) PRIMARY KEY, aggregatetype VARCHAR(100) NOT NULL, aggregateid VARCHAR(100) NOT NULL,
      type VARCHAR(100) NOT NULL, payload LONGTEXT
    ) CHARACTER SET utf8mb4""",
    "CREATE TABLE side (n INT)",
)
WRITERS = 3
KEYS = 7


class Load:
    """A context: writes while it lasts. `ledger` holds every row that was committed."""

    def __init__(self, server: Database, schema: str, event: str, *, rate: float = 300.0, seed: str = "1") -> None:
        self.server, self.schema, self.event = server, schema, event
        self.rate, self.seed = rate, seed
        self.ledger: dict[str, Kept] = {}
        self.transactions = 0
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._began = self._took = 0.0
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._took = time.monotonic() - self._began
        if self.failures:
            raise self.failures[0]

    @property
    def achieved(self) -> float:
        """Transactions a second."""
        return self.transactions / (self._took or time.monotonic() - self._began)

    def _work(self, writer: int) -> None:
        try:
            self._write(writer)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self.failures.append(error)

    def _write(self, writer: int) -> None:
        chance = random.Random(f"{self.seed}/{writer}")
        connection = self.server.connect(database=self.schema, autocommit=False)
        due, pace, number = time.monotonic(), WRITERS / self.rate, 0
        try:
            with connection.cursor() as cursor:
                while not self._stop.wait(max(0.0, due - time.monotonic())):
                    due = max(due + pace, time.monotonic() - 1.0)
                    number += 1
                    kind = chance.random()
                    shape = [40, 40] if kind < 0.02 else [2, 3] if kind < 0.2 else [1]
                    rows = self._rows(writer, number, sum(shape))
                    at = 0
                    for count in shape:
                        if at:
                            cursor.execute("INSERT INTO side VALUES (1)")
                        values = [value for row in rows[at : at + count] for value in row]
                        marks = ", ".join(["(%s, %s, %s, 'made', %s)"] * count)
                        cursor.execute(f"INSERT INTO outbox VALUES {marks}", values)
                        at += count
                    if kind > 0.97:
                        connection.rollback()
                        continue
                    connection.commit()
                    self.transactions += 1
                    for index, (row_id, _, key, value) in enumerate(rows):
                        self.ledger[row_id] = Kept(key, value, (number, index + 1))
        finally:
            connection.close()

    def _rows(self, writer: int, number: int, count: int) -> list[tuple[str, str, str, str]]:
        rows = []
        for index in range(count):
            row_id = f"{writer:08}-0000-0000-{index:04}-{number:012}"
            value = json.dumps({"writer": writer, "number": number, "index": index})
            rows.append((row_id, self.event, f"w{writer}-{(number + index) % KEYS}", value))
        return rows
