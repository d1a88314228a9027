"""Record what the real broker answers: tests/vectors/broker/kafka-VERSION.json, which the model broker must equal.

    .venv/bin/python -m tests.tools.record_broker [host:port] [version]

Without an address it asks the broker of `make up`. Look at what git shows of the changes: an answer
that differs from the recorded one is a change in Kafka, or a scenario that depends on speed.
"""

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import Any

from tests.servers import address
from tests.simulation.questions import answers, versions
from tests.simulation.wire import NAMES

VECTORS = Path(__file__).parents[1] / "vectors" / "broker"


async def _record(bootstrap: str) -> dict[str, Any]:
    host, _, port = bootstrap.rpartition(":")
    spoken = await versions(host, int(port))
    asked = {name: spoken[str(key)] for key, name in NAMES.items()}
    return {"versions": asked, "answers": await answers(host, int(port), f"recorded-{secrets.token_hex(4)}")}


def main() -> None:
    bootstrap = sys.argv[1] if len(sys.argv) > 1 else address("CDC_TEST_KAFKA")
    version = sys.argv[2] if len(sys.argv) > 2 else "4.1.2"
    recorded = asyncio.run(_record(bootstrap))
    VECTORS.mkdir(parents=True, exist_ok=True)
    file = VECTORS / f"kafka-{version}.json"
    file.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    print(f"{file}: {sum(map(len, recorded['answers'].values()))} answers")


if __name__ == "__main__":
    main()
