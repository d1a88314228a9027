"""Options that the design has and this version has not: refused by name, with what to do now.

Delete a line when its option is built; what is listed nowhere is an unknown key.
"""

from __future__ import annotations

from collections.abc import Mapping

_SOON = "is not available in this version"

KEYS: Mapping[str, str] = {
    "oversize": f"{_SOON}; a transaction that is too long for Kafka stops the source",
}

VALUES: Mapping[tuple[str, str], str] = {}
