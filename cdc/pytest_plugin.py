"""Fixtures for the tests of applications that write events; pytest finds them by an entry point.

Every pytest run of an environment with this package imports this module, so it imports nothing
until a fixture is asked for. That is why it is not in `cdc.outbox`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cdc.outbox.testing import RecordingOutbox


@pytest.fixture
def recording_outbox() -> RecordingOutbox:
    """An Outbox to hand to the code under test; it needs no database."""
    from cdc.outbox.testing import RecordingOutbox  # noqa: PLC0415

    return RecordingOutbox()


@pytest.fixture
def recorded_outbox(monkeypatch: pytest.MonkeyPatch) -> RecordingOutbox:
    """What every Outbox of the program is given during the test, wherever it was made; none of them writes."""
    from cdc.outbox import Outbox  # noqa: PLC0415
    from cdc.outbox.testing import RecordingOutbox  # noqa: PLC0415

    recorder = RecordingOutbox()
    monkeypatch.setattr(Outbox, "write", lambda _, target, rows: recorder.write(target, rows))
    monkeypatch.setattr(Outbox, "write_async", lambda _, target, rows: recorder.write_async(target, rows))
    return recorder
