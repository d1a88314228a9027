"""`service:`, the process itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from cdc.settings.quantities import Duration
from cdc.settings.section import Section


def _not_too_short(seconds: float) -> float:
    if seconds < 1:
        raise ValueError("must be at least 1s: the times in a log are whole seconds")
    return seconds


class ServiceSettings(Section):
    """This process among others."""

    instance: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = Field(
        default=None, description="This instance's name; the host's where nothing is said"
    )
    drain_timeout: Duration = Field(
        default=30.0,
        description="How long a stop may take to commit what was read",
        json_schema_extra={"default": "30s"},
    )
    ready_lag: Annotated[Duration, AfterValidator(_not_too_short)] = Field(
        default=30.0,
        description="/readyz says 200 while every source is behind its server's log by no more than this",
        json_schema_extra={"default": "30s"},
    )
