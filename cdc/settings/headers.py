"""`headers:` of routes and tables: all, none, or what to drop, rename and add."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_serializer, model_validator

from cdc.routing import templates
from cdc.routing.headers import HeaderRules, contradiction
from cdc.routing.marks import MARKS
from cdc.settings.section import Section

_NAME_LENGTH = 200


def _template(text: str) -> str:
    templates.parse(text)
    return text


def _name(name: str) -> str:
    if name in MARKS:
        raise ValueError(f"{name} is a mark of ours: no row's header may be called that")
    return name


Name = Annotated[str, StringConstraints(min_length=1, max_length=_NAME_LENGTH), AfterValidator(_name)]
Glob = Annotated[str, StringConstraints(min_length=1)]


class HeaderSettings(Section):
    """What happens to the headers an envelope made: dropped, then renamed, then added."""

    drop: list[Glob] = Field(default_factory=list, description="Names, or globs of names, that are left out")
    rename: dict[str, Name] = Field(default_factory=dict, description="Name to new name")
    add: dict[Name, Annotated[str, AfterValidator(_template)]] = Field(
        default_factory=dict, description="Name to text, with columns of the row in it: {tenant}. NULL leaves it out"
    )

    @property
    def word(self) -> str:
        """`none`, or `all` where nothing else is said."""
        return "none" if isinstance(self, NoHeaders) else "all"

    @model_validator(mode="after")
    def _fits(self) -> HeaderSettings:
        if said := contradiction(self.as_rules() or HeaderRules()):
            raise ValueError(said)
        return self

    @model_serializer(mode="plain")
    def _shown(self) -> Any:
        said = {"drop": self.drop, "rename": self.rename, "add": self.add}
        return {name: value for name, value in said.items() if value} or self.word

    def names(self) -> list[str]:
        """Columns that the texts name."""
        return [name for text in self.add.values() for name in templates.parse(text).names]

    def as_rules(self) -> HeaderRules | None:
        """The same as a plain value; None where there is nothing to do."""
        if not (self.drop or self.rename or self.add):
            return None
        added = tuple((name, templates.parse(text)) for name, text in self.add.items())
        return HeaderRules(tuple(self.drop), tuple(self.rename.items()), added)


class NoHeaders(HeaderSettings):
    """`headers: none`."""


def _word(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in ("all", "none"):
        raise ValueError("must be all, none, or a mapping with drop, rename and add")
    return NoHeaders() if value == "none" else HeaderSettings()


Headers = Annotated[
    HeaderSettings, BeforeValidator(_word, json_schema_input_type=Literal["all", "none"] | HeaderSettings)
]
