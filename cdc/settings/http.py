"""`http:`, where health, metrics and status are served.

Loopback by default: nothing there asks who is calling. An address that somebody chose and that
is in use ends the start; the default one gives way, so that two tailers of one machine (a
working one and its standby, say) need no setting. `off` is text inside; YAML reads a bare
`off` and `false` as the same thing, and `null` is taken for it, too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from cdc.settings.section import Section

OFF = "off"

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:,/@\[\]]+)):(?P<port>\d{1,5})")


def _listen(value: Any) -> str:
    if value is None or value is False or value == OFF:
        return OFF
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"]) >= 1 << 16:
        raise ValueError("must be host:port, such as 127.0.0.1:8080 (port 0: any that is free), or off")
    return str(value)


class HttpSettings(Section):
    """Health, metrics and status."""

    listen: Annotated[
        str,
        BeforeValidator(_listen),
        WithJsonSchema(
            {
                "anyOf": [{"type": "string", "examples": ["127.0.0.1:8080"]}, {"const": False}, {"type": "null"}],
            }
        ),
    ] = Field(
        default="127.0.0.1:8080",
        description="host:port of /livez, /readyz, /metrics and /status; port 0: any free one, see the log; off: none",
    )

    @property
    def is_chosen(self) -> bool:
        """Did somebody say where? The default gives way to whoever has its port already."""
        return "listen" in self.model_fields_set

    def address(self) -> tuple[str, int] | None:
        """Host and port; None: no server."""
        match = _LISTEN.fullmatch(self.listen)
        return match and (match["v6"] or match["host"], int(match["port"]))
