"""The way back from a handover: a file with everything that was there before, written before anything is changed.

No secrets: positions, offsets and states only, never a configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdc.connect.answers import Offset
from cdc.errors import ConfigError
from cdc.model import Checkpoint
from cdc.position import Position


@dataclass(frozen=True, slots=True)
class Before:
    """What there was. `state` is the connector's, None where it was not there."""

    direction: str
    source: str
    connector: str
    state: str | None
    offsets: Sequence[Offset]
    checkpoint: Checkpoint | None

    def as_data(self, after: Mapping[str, Any], back: Sequence[str]) -> dict[str, Any]:
        """For the file, and for output."""
        last = self.checkpoint
        return {
            "handover": self.direction,
            "source": self.source,
            "connector": self.connector,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "before": {
                "connector_state": self.state,
                "offsets": [{"partition": one.partition, "offset": one.offset} for one in self.offsets],
                "checkpoint": last
                and {**last.position.to_json(), "instance": last.instance, "released": last.released},
            },
            "after": dict(after),
            "way_back": list(back),
        }


def path_for(before: Before, folder: Path) -> Path:
    """A name that no other handover has."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return folder / f"handover-{before.direction}-{before.source}-{stamp}.json"


def keep(path: Path, data: Mapping[str, Any]) -> None:
    """Write it so that it is there after a crash. Raises ConfigError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(data, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(
            f"the way back cannot be kept in {path}: {error.strerror or error}",
            hint="--keep FOLDER names another place",
        ) from error


def place(position: Position) -> str:
    """As `cdc checkpoint set --to` takes it."""
    return str(position.gtid_set) if position.gtid_set else f"{position.file}:{position.position}"
