"""What an event costs the service that writes it: ours beside python-cqrs's own repository, in its venv, in turns.

Both write through the same AsyncSession on the same server, in one transaction that is rolled back; time is
that of the whole step, the server's part included: `add` alone, `add` and a flush for each event, and a
flush for a hundred events. The second half of this file runs in the venv and may import nothing of the tests.
"""

import asyncio
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = 1000


def compare(server: Any, schema: str, rounds: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Rounds of both, by contestant and way of writing."""
    from cdc.outbox.table import ddl
    from infra.stack import Places

    server.run(ddl("mariadb", "writing_ours"), ddl("mariadb", "outbox", "cqrs"), schema=schema)
    python = Places.from_environment().cache / "venvs" / "cqrs-5" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"there is no {python}: make venvs")
    url = f"mysql+asyncmy://{server.user}:{server.password}@{server.host}:{server.port}/{schema}"
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(rounds):
        done = subprocess.run([python, __file__, url], check=True, capture_output=True, text=True, cwd=REPOSITORY)
        for contestant, ways in json.loads(done.stdout).items():
            for way, us in ways.items():
                found.setdefault(contestant, {}).setdefault(way, []).append({"us_per_event": us})
    return found


async def inside(url: str) -> dict[str, dict[str, float]]:
    warnings.simplefilter("ignore")
    import cqrs
    import pydantic
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    from cdc.outbox import Event, Outbox

    class Joined(pydantic.BaseModel):
        user_id: str
        meeting_id: str

    theirs = cqrs.PydanticNotificationEvent[Joined]
    cqrs.OutboxedEventMap.register("user_joined", theirs)
    outbox = Outbox("writing_ours")
    engine = create_async_engine(url)

    def their_add(session: AsyncSession) -> Callable[[], None]:
        repository = cqrs.SqlAlchemyOutboxedEventRepository(session=session)
        return lambda: repository.add(
            theirs(event_name="user_joined", topic="users", payload=Joined(user_id="1", meeting_id="2"))
        )

    def our_add(session: AsyncSession) -> Callable[[], None]:
        return lambda: outbox.add(session, Event("user_joined", "users", Joined(user_id="1", meeting_id="2"), key="1"))

    async def measured(make: Callable[[AsyncSession], Callable[[], None]], flush_each: int) -> float:
        async with AsyncSession(engine) as session:
            add, spent = make(session), 0.0
            for start in (-EVENTS // 5, 0):  # once to warm up
                began = time.perf_counter()
                for n in range(start, EVENTS if start == 0 else 0):
                    add()
                    if flush_each and n % flush_each == flush_each - 1:
                        await session.flush()
                spent = time.perf_counter() - began
                session.expunge_all()
            await session.rollback()
        return 1e6 * spent / EVENTS

    ways = {"add": 0, "add and flush": 1, "100 adds, a flush": 100}
    contestants: dict[str, Callable[[AsyncSession], Callable[[], None]]] = {
        "cdc.outbox": our_add,
        "python-cqrs 5 repository": their_add,
    }
    out: dict[str, dict[str, float]] = {name: {} for name in contestants}
    for way, flush_each in ways.items():
        for name, make in contestants.items():
            out[name][way] = await measured(make, flush_each)
    closing: Awaitable[None] = engine.dispose()
    await closing
    return out


if __name__ == "__main__":
    print(json.dumps(asyncio.run(inside(sys.argv[1]))))
