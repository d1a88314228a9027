"""What changed between two schemas of one version: each kind of change by name and place."""

import copy

import pytest

from cdc.schema.compare import compare

OLD = {
    "type": "object",
    "required": ["id", "lines"],
    "$defs": {
        "Line": {
            "type": "object",
            "required": ["sku"],
            "properties": {
                "sku": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+$"},
                "count": {"type": "integer", "minimum": 1, "maximum": 99, "multipleOf": 1},
            },
        },
        "Tree": {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
    },
    "properties": {
        "id": {"type": "integer", "title": "Id"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 1, "maxItems": 9},
        "state": {"type": "string", "enum": ["open", "paid"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "at": {"type": "string", "format": "date-time"},
        "rate": {"type": "number"},
        "kind": {"const": "order"},
        "both": {"type": ["string", "integer"]},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        "sealed": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        "tree": {"$ref": "#/$defs/Tree"},
        "either": {"oneOf": [{"type": "object", "properties": {"x": {"type": "string"}}}, {"type": "integer"}]},
        "far": {"$ref": "urn:elsewhere"},
        "free": {},
        "never": False,
        "whole": {"allOf": [{"type": "object"}, {"properties": {"y": {"type": "string"}}}]},
        "by name": {"type": "object", "patternProperties": {"^x": {"type": "integer"}}},
    },
    "x-topic": "orders",
    "x-key": "id",
}


def changed(*path, to=None, remove=False):
    new = copy.deepcopy(OLD)
    at = new
    for step in path[:-1]:
        at = at[step]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return new


P, LINE = "properties", ("$defs", "Line", "properties")
BREAKING = {
    "field removed": (changed(P, "state", remove=True), "$.state", "widened"),
    "field renamed": (
        {**OLD, P: {("price" if name == "rate" else name): one for name, one in OLD[P].items()}},
        "$.rate",
        "widened",
    ),
    "below: field removed": (changed(*LINE, "count", remove=True), "$.lines[].count", "widened"),
    "new required field": (
        {**changed(P, "more", to={"type": "string"}), "required": ["id", "lines", "more"]},
        "$.more",
        "narrowed",
    ),
    "became required": (changed("required", to=["id", "lines", "state"]), "$.state", "narrowed"),
    "no longer required": (changed("required", to=["lines"]), "$.id", "widened"),
    "below: became required": (
        changed("$defs", "Line", "required", to=["sku", "count"]),
        "$.lines[].count",
        "narrowed",
    ),
    "type": (changed(P, "id", "type", to="string"), "$.id", "changed"),
    "type narrowed": (changed(P, "rate", "type", to="integer"), "$.rate", "narrowed"),
    "one type of two": (changed(P, "both", "type", to="string"), "$.both", "narrowed"),
    "one type more": (changed(P, "both", "type", to=["string", "integer", "null"]), "$.both", "widened"),
    "type gone": (changed(P, "id", "type", remove=True), "$.id", "widened"),
    "type said": (changed(P, "kind", to={"const": "order", "type": "string"}), "$.kind", "narrowed"),
    "word of enum removed": (changed(P, "state", "enum", to=["open"]), "$.state", "narrowed"),
    "word of enum added": (changed(P, "state", "enum", to=["open", "paid", "gone"]), "$.state", "widened"),
    "enum gone": (changed(P, "state", "enum", remove=True), "$.state", "widened"),
    "enum said": (changed(P, "at", "enum", to=["now"]), "$.at", "narrowed"),
    "null added": (changed(P, "rate", to={"anyOf": [{"type": "number"}, {"type": "null"}]}), "$.rate", "widened"),
    "null removed": (changed(P, "note", to={"type": "string"}), "$.note", "narrowed"),
    "alternative changed": (changed(P, "either", "oneOf", 0, P, "x", "type", to="integer"), "$.either.x", "changed"),
    "alternative added": (
        changed(P, "either", "oneOf", to=[*OLD[P]["either"]["oneOf"], {"type": "string"}]),
        "$.either",
        "widened",
    ),
    "a structure that may be null now": (
        changed(P, "sealed", to={"anyOf": [OLD[P]["sealed"], {"type": "null"}]}),
        "$.sealed",
        "widened",
    ),
    "another kind of choice": (changed(P, "either", to={"anyOf": OLD[P]["either"]["oneOf"]}), "$.either", "changed"),
    "somewhere else": (changed(P, "far", "$ref", to="urn:other"), "$.far", "changed"),
    "anything": (changed(P, "id", to=True), "$.id", "widened"),
    "no longer nothing": (changed(P, "never", to={}), "$.never", "widened"),
    "no longer anything": (changed(P, "free", to={"type": "string"}), "$.free", "narrowed"),
    "alternative removed": (changed(P, "either", "oneOf", to=OLD[P]["either"]["oneOf"][:1]), "$.either", "narrowed"),
    "format": (changed(P, "at", "format", to="date"), "$.at", "changed"),
    "format gone": (changed(P, "at", "format", remove=True), "$.at", "widened"),
    "format said": (changed(P, "state", "format", to="uuid"), "$.state", "narrowed"),
    "pattern": (changed(*LINE, "sku", "pattern", to="^[0-9]+$"), "$.lines[].sku", "changed"),
    "minLength up": (changed(*LINE, "sku", "minLength", to=2), "$.lines[].sku", "narrowed"),
    "maxLength up": (changed(*LINE, "sku", "maxLength", to=21), "$.lines[].sku", "widened"),
    "minimum up": (changed(*LINE, "count", "minimum", to=2), "$.lines[].count", "narrowed"),
    "minimum down": (changed(*LINE, "count", "minimum", to=0), "$.lines[].count", "widened"),
    "maximum down": (changed(*LINE, "count", "maximum", to=9), "$.lines[].count", "narrowed"),
    "maximum gone": (changed(*LINE, "count", "maximum", remove=True), "$.lines[].count", "widened"),
    "multipleOf": (changed(*LINE, "count", "multipleOf", to=5), "$.lines[].count", "changed"),
    "maxItems down": (changed(P, "lines", "maxItems", to=3), "$.lines", "narrowed"),
    "items gone": (changed(P, "lines", "items", remove=True), "$.lines[]", "widened"),
    "items said": (changed(P, "pair", "items", to=False), "$.pair[]", "narrowed"),
    "const": (changed(P, "kind", "const", to="bill"), "$.kind", "changed"),
    "others forbidden": (changed("additionalProperties", to=False), "$", "narrowed"),
    "others allowed": (changed(P, "sealed", "additionalProperties", remove=True), "$.sealed", "widened"),
    "others of another type": (
        changed(P, "counts", "additionalProperties", "type", to="string"),
        "$.counts.*",
        "changed",
    ),
    "a field more where others are forbidden": (
        changed(P, "sealed", P, "b", to={"type": "string"}),
        "$.sealed.b",
        "widened",
    ),
    "member of a tuple": (changed(P, "pair", "prefixItems", 1, "type", to="integer"), "$.pair[1]", "changed"),
    "members of a tuple": (changed(P, "pair", "prefixItems", to=[{"type": "integer"}]), "$.pair", "changed"),
    "below itself": (
        changed("$defs", "Tree", P, "below", "items", to={"type": "string"}),
        "$.tree.below[]",
        "changed",
    ),
    "part of a whole": (changed(P, "whole", "allOf", 1, P, "y", "type", to="integer"), "$.whole.y", "changed"),
    "by pattern": (
        changed(P, "by name", "patternProperties", "^x", "type", to="string"),
        '$["by name"].<^x>',
        "changed",
    ),
    "pattern gone": (changed(P, "by name", "patternProperties", remove=True), '$["by name"].<^x>', "changed"),
    "topic": (changed("x-topic", to="bills"), "$", "changed"),
    "key": (changed("x-key", remove=True), "$", "widened"),
    "unknown keyword": (changed(P, "id", "x-number", to=4), "$.id", "narrowed"),
}
FINE = {
    "nothing": OLD,
    "a new optional field": changed(P, "more", to={"type": "string"}),
    "a new optional field below": changed(*LINE, "more", to={"type": "string"}),
    "titles": changed(P, "id", "title", to="The id"),
    "a default": changed(P, "state", "default", to="open"),
    "an example": changed("examples", to=[{}]),
    "a definition nobody uses": changed("$defs", "Other", to={"type": "string"}),
    "a definition put in its place": changed(P, "lines", "items", to=OLD["$defs"]["Line"]),
    "another order of alternatives": changed(P, "note", "anyOf", to=OLD[P]["note"]["anyOf"][::-1]),
    "anything in other words": changed(P, "free", to=True),
    "a new field in each alternative": changed(
        P,
        "either",
        "oneOf",
        to=[{"type": "integer"}, {"type": "object", P: {"x": {"type": "string"}, "y": {"type": "string"}}}],
    ),
    "another order of required": changed("required", to=["lines", "id"]),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_named_with_its_place(name):
    new, place, kind = BREAKING[name]
    found = [change for change in compare(OLD, new) if change.breaking]
    assert (place, kind) in [(change.path, change.kind) for change in found], found
    assert {change.path for change in found} == {place}, "and nothing else"
    assert all(change.what for change in found)


def test_there_are_enough_of_them():
    assert len(BREAKING) >= 40


@pytest.mark.parametrize("name", FINE)
def test_what_hurts_nobody_is_none(name):
    assert not [change for change in compare(OLD, FINE[name]) if change.breaking]


def test_a_renamed_definition_that_holds_itself_is_no_change():
    new = copy.deepcopy(OLD)
    new["$defs"]["Wood"] = {"type": "object", P: {"below": {"type": "array", "items": {"$ref": "#/$defs/Wood"}}}}
    new[P]["tree"] = {"$ref": "#/$defs/Wood"}
    assert compare(OLD, new) == []
