"""What changed between two schemas of one version of an event, field by field, and whether consumers may be hurt.

Within a version only additions are allowed: a new optional field, a word for people. Everything
else breaks somebody. `narrowed`: events that were written before are not what the new schema says.
`widened`: consumers made for the old schema meet what it did not allow (a new word of an enum, a null, a field
that may be missing). So both break, and are told apart for the one who reads.

References are followed, so it does not matter where a definition stands or what it is called.
A keyword that is not known here counts as breaking when it changes: nothing passes unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Schema: TypeAlias = "Mapping[str, Any] | bool"
Kind = Literal["added", "narrowed", "widened", "changed"]

_FOR_PEOPLE = {
    *("$schema", "$id", "$comment", "$defs", "$anchor", "definitions"),
    *("title", "description", "examples", "default", "deprecated", "readOnly", "writeOnly"),
    *("x-event", "x-version", "x-message"),
}
_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"}
_FIELDS = {"properties", "required", "additionalProperties"}
_ONE_OF = ("anyOf", "oneOf")
_BELOW = ("items", "contains", "not", "if", "then", "else", "propertyNames", "unevaluatedProperties")
_LISTS = ("prefixItems", "allOf")
_MAPS = ("patternProperties", "dependentSchemas")
_ROOT = {"x-topic": "its topic", "x-key": "its key", "x-content-type": "its content type", "x-codec": "its codec"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference at one place: `$.items[].price`."""

    path: str
    kind: Kind
    what: str

    @property
    def breaking(self) -> bool:
        """Whether it needs a new version."""
        return self.kind != "added"

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def compare(old: Schema, new: Schema) -> list[Change]:
    """All changes, in the order of the old schema's fields, additions after them."""
    return list(_Comparison(old, new).at("$", old, new))


class _Comparison:
    """Knows both documents, for references, and the pairs it has been through, for schemas that hold themselves."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._under_way: set[tuple[str, str]] = set()

    def at(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        """The changes of one place and below."""
        if not (_refers(old) or _refers(new)):
            yield from self._resolved_at(path, old, new)
            return
        pair = json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True)
        if pair in self._under_way:
            return  # a schema that holds itself: what differs is told further up
        self._under_way.add(pair)
        yield from self._resolved_at(path, _resolved(old, self._old), _resolved(new, self._new))
        self._under_way.discard(pair)

    def _resolved_at(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        if isinstance(old, bool) or isinstance(new, bool):
            if old is not new and not (_allows_all(old) and _allows_all(new)):
                yield from _of_all(path, f"{_short(old)} became {_short(new)}", old, new)
            return
        before, after = _types(old.get("type")), _types(new.get("type"))
        if before and after and before.isdisjoint(after):
            yield from _sets(path, "type", before, after)
            return  # what is below differs, of course
        if _is_choice(old) is not _is_choice(new):  # `{...}` and `anyOf: [{...}, null]` are one choice and two
            yield from self._alternatives(path, _choices(old), _choices(new))
            return
        yield from self._fields(path, old, new)
        for word in _ONE_OF:
            if word in old and word in new:
                yield from self._alternatives(path, old[word], new[word])
            elif word in old or word in new:
                yield Change(path, "changed", f"`{word}` was {'removed' if word in old else 'added'}")
        for word in _BELOW:
            yield from self._below(path, word, old, new)
        for word in _LISTS:
            yield from self._list(path, word, old.get(word), new.get(word))
        for word in _MAPS:
            yield from self._map(path, word, old.get(word, {}), new.get(word, {}))
        yield from _words(path, old, new)

    # -- objects ---------------------------------------------------------------------------

    def _fields(self, path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name, schema in before.items():
            place = _place(path, name)
            if name not in after:
                yield Change(place, "widened", "the field was removed")
                continue
            if name in needed and name not in needs:
                yield Change(place, "widened", "the field was required, and may be missing now")
            if name in needs and name not in needed:
                yield Change(place, "narrowed", "the field may have been missing, and is required now")
            yield from self.at(place, schema, after[name])
        closed = old.get("additionalProperties") is False
        for name in after:
            if name in before:
                continue
            if name in needs:
                yield Change(_place(path, name), "narrowed", "a new field is required, and older events lack it")
            elif closed:
                yield Change(_place(path, name), "widened", "a new field, and the old schema forbids any other")
            else:
                yield Change(_place(path, name), "added", "a new optional field")
        for name in sorted((needed ^ needs) - set(before) - set(after)):
            yield Change(_place(path, name), "changed", f"{'is' if name in needs else 'was'} required without a schema")
        yield from self._others(path, old.get("additionalProperties", True), new.get("additionalProperties", True))

    def _others(self, path: str, old: Schema, new: Schema) -> Iterator[Change]:
        if old == new and not _has_reference(old):
            return
        if isinstance(old, bool) or isinstance(new, bool):
            yield from _of_all(path, f"other fields: {_allowed(old)} became {_allowed(new)}", old, new)
            return
        yield from self.at(f"{path}.*", old, new)

    # -- alternatives, lists, maps ---------------------------------------------------------

    def _alternatives(self, path: str, before: Sequence[Schema], after: Sequence[Schema]) -> Iterator[Change]:
        """Each goes with the one most like it that nobody is hurt by; what is left over was lost, or has come."""
        left, lost = list(enumerate(after)), []
        for one in before:
            pairs = [(list(self.at(path, one, other)), number) for number, other in left]
            fine = [pair for pair in pairs if not any(change.breaking for change in pair[0])]
            if not fine:
                lost.append(one)
                continue
            changes, found = min(fine, key=lambda pair: len(pair[0]))
            left = [pair for pair in left if pair[0] != found]
            yield from changes
        if len(lost) == len(left) == 1:
            yield from self.at(path, lost[0], left[0][1])
            return
        for one in lost:
            yield Change(path, "narrowed", f"it can no longer be {_short(one)}")
        for _, one in left:
            yield Change(path, "widened", f"it can also be {_short(one)} now")

    def _below(self, path: str, word: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        place = f"{path}[]" if word == "items" else f"{path}.<{word}>"
        if word in old and word in new:
            yield from self.at(place, old[word], new[word])
        elif word in old or word in new:
            kind: Kind = ("widened" if word in old else "narrowed") if word == "items" else "changed"
            yield Change(place, kind, f"`{word}` was {'removed' if word in old else 'added'}")

    def _list(
        self, path: str, word: str, old: Sequence[Schema] | None, new: Sequence[Schema] | None
    ) -> Iterator[Change]:
        before, after = old or (), new or ()
        if len(before) != len(after):
            yield Change(path, "changed", f"`{word}` had {len(before)} members, and has {len(after)}")
            return
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from self.at(f"{path}[{number}]" if word == "prefixItems" else path, one, other)

    def _map(self, path: str, word: str, old: Mapping[str, Schema], new: Mapping[str, Schema]) -> Iterator[Change]:
        for name in sorted({*old, *new}):
            place = f"{path}.<{name}>"
            if name in old and name in new:
                yield from self.at(place, old[name], new[name])
            else:
                yield Change(place, "changed", f"`{word}` was {'removed' if name in old else 'added'}")


def _words(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Keywords with a plain value."""
    done = {*_FOR_PEOPLE, *_FIELDS, *_BELOW, *_LISTS, *_MAPS, *_ONE_OF}
    for word in sorted(({*old, *new}) - done):
        before, after = old.get(word), new.get(word)
        if before == after and type(before) is type(after):
            continue
        if word == "type":
            yield from _sets(path, "type", _types(before), _types(after))
        elif word == "enum":
            yield from _sets(path, "value", _texts(before), _texts(after))
        elif word in _LOWER | _UPPER and before is not None and after is not None:
            tighter = (after > before) if word in _LOWER else (after < before)
            kind: Kind = "narrowed" if tighter else "widened"
            yield Change(path, kind, f"`{word}` was {_short(before)}, and is {_short(after)}")
        else:
            kind = "narrowed" if before is None else "widened" if after is None else "changed"
            what = _ROOT.get(word, f"`{word}`")
            yield Change(path, kind, f"{what} was {_short(before)}, and is {_short(after)}")


def _of_all(path: str, what: str, old: Schema, new: Schema) -> Iterator[Change]:
    """Everything, or nothing, was or is allowed."""
    yield Change(path, "widened" if _allows_all(new) or old is False else "narrowed", what)


def _allows_all(schema: Schema) -> bool:
    return schema is True or (not isinstance(schema, bool) and not _without_people(schema))


def _is_choice(schema: Mapping[str, Any]) -> bool:
    """Does it say nothing but which schemas there are to choose from?"""
    said = list(_without_people(schema))
    return len(said) == 1 and said[0] in _ONE_OF


def _choices(schema: Mapping[str, Any]) -> Sequence[Schema]:
    return next(iter(_without_people(schema).values())) if _is_choice(schema) else [schema]


def _sets(path: str, what: str, before: set[str] | None, after: set[str] | None) -> Iterator[Change]:
    if before is None or after is None:
        told = ", ".join(sorted(before or after or ()))
        kind: Kind = "widened" if after is None else "narrowed"
        yield Change(path, kind, f"any {what} is allowed now" if after is None else f"only {told} is allowed now")
        return
    gone, come = sorted(before - after), sorted(after - before)
    if gone and come:
        yield Change(path, "changed", f"{what} {', '.join(gone)} became {', '.join(come)}")
    elif gone:
        yield Change(path, "narrowed", f"{what} {', '.join(gone)} is no longer allowed")
    elif come:
        yield Change(path, "widened", f"{what} {', '.join(come)} is allowed now, too")


def _types(value: Any) -> set[str] | None:
    """The types there may be; an integer is a number."""
    if value is None:
        return None
    found = {value} if isinstance(value, str) else set(value)
    return found | {"integer"} if "number" in found else found


def _texts(value: Any) -> set[str] | None:
    return None if value is None else {json.dumps(one, sort_keys=True, ensure_ascii=False) for one in value}


# -- references ----------------------------------------------------------------------------------


def _refers(schema: Schema) -> bool:
    return isinstance(schema, Mapping) and "$ref" in schema


def _resolved(schema: Schema, root: Schema) -> Schema:
    """What a reference into its own document stands for, with what stands beside it."""
    seen: set[str] = set()
    while isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str) and reference not in seen:
        seen.add(reference)
        target = _target(reference, root)
        if target is None:
            break
        beside = {name: value for name, value in schema.items() if name != "$ref" and name not in _FOR_PEOPLE}
        schema = {**target, **beside} if beside and isinstance(target, Mapping) else target
    return schema


def _target(reference: str, root: Schema) -> Schema | None:
    if not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference[1:].strip("/").split("/"):
        if step:
            word = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or word not in found:
                return None
            found = found[word]
    return found  # type: ignore[no-any-return]


def _has_reference(schema: Any) -> bool:
    return "$ref" in json.dumps(schema)


def _without_people(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name not in _FOR_PEOPLE}


# -- words ---------------------------------------------------------------------------------------


def _place(path: str, name: str) -> str:
    return f"{path}.{name}" if name.replace("_", "a").isalnum() else f"{path}[{json.dumps(name, ensure_ascii=False)}]"


def _allowed(schema: Schema) -> str:
    return {True: "anything", False: "forbidden"}[schema] if isinstance(schema, bool) else _short(schema)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        for word in ("title", "type", "const", "enum"):
            if word in value:
                told = value[word]
                return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "not there" if value is None else text if len(text) < 80 else f"{text[:77]}..."  # noqa: PLR2004
