"""What every part of the configuration is: a frozen mapping that takes no unknown key.

Field descriptions are what people read: in the JSON Schema, and behind "is missing:".
`annotation_at` walks the tree of sections along a path; the environment's overrides and
"did you mean" need to know what may stand where.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all parts. Strict: text is not a number, and 1 is not true."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        validate_default=False,
        protected_namespaces=(),
    )


def bare(annotation: Any) -> Any:
    """An annotation without `Annotated` and `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, types.UnionType}:
            rest = [arg for arg in get_args(annotation) if arg is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def is_section(annotation: Any) -> bool:
    """Is it a part with fixed keys?"""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def annotation_at(root: type[Section], path: Sequence[str | int]) -> Any:
    """What may stand at a path, bare; None where nothing is known."""
    found: Any = root
    for step in path:
        if is_section(found):
            field = found.model_fields.get(str(step))
            if field is None:
                return None
            found = bare(field.annotation)
        elif get_origin(found) in {dict, list}:
            found = bare(get_args(found)[-1])
        else:
            return None
    return found
