"""`service:`, the process itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from cdc.settings.quantities import Duration
from cdc.settings.section import Section


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
