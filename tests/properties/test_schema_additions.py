"""Additive means: every old event is what the new schema says. And no drawn damage passes unseen."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cdc.schema.compare import compare

NAMES = st.text("abcdefgh", min_size=1, max_size=3)
LEAVES = st.one_of(
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-9, 9),
        st.integers(0, 9),
    ),
    st.just({"type": "string"}),
    st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, unique=True).map(lambda words: {"enum": words}),
    st.just({"type": "boolean"}),
    st.just({"type": "number"}),
    st.just({"anyOf": [{"type": "string"}, {"type": "null"}]}),
)

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
"""Nested schemas take their time to draw on a busy machine; how long says nothing."""


def objects(inner):
    fields = st.dictionaries(NAMES, st.tuples(inner, st.booleans()), max_size=4)
    return fields.map(
        lambda found: {
            "type": "object",
            "properties": {name: schema for name, (schema, _) in found.items()},
            "required": sorted(name for name, (_, needed) in found.items() if needed),
        }
    )


SCHEMAS = st.recursive(
    LEAVES, lambda inner: objects(inner) | inner.map(lambda one: {"type": "array", "items": one}), max_leaves=8
)
WHOLE = objects(SCHEMAS)


def values(schema):
    """Values of such a schema, with the fields it names and no others."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    match schema["type"]:
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "object":
            fields = {name: values(one) for name, one in schema["properties"].items()}
            needed = {name: made for name, made in fields.items() if name in schema["required"]}
            return st.fixed_dictionaries(needed, optional={k: v for k, v in fields.items() if k not in needed})
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case kind:
            return {
                "string": st.text(max_size=3),
                "boolean": st.booleans(),
                "null": st.none(),
                "number": st.floats(-9, 9),
            }[kind]


def nodes(schema):
    """Every schema in it, itself first."""
    yield schema
    below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    for one in below:
        yield from nodes(one)


@UNHURRIED
@given(st.data(), WHOLE)
def test_old_events_fit_after_any_additions(data, old):
    new = copy.deepcopy(old)
    for node in list(nodes(new)):
        if node.get("type") == "object" and data.draw(st.booleans()):
            node["properties"].setdefault("new_" + data.draw(NAMES), data.draw(SCHEMAS))
        node["title"] = "for people"
    assert all(change.kind == "added" for change in compare(old, new))
    Draft202012Validator(new).validate(data.draw(values(old)))


@UNHURRIED
@given(WHOLE)
def test_a_schema_is_like_itself(schema):
    assert compare(schema, copy.deepcopy(schema)) == []


def harm(data, node):
    """One change of this place that hurts somebody."""
    if "enum" in node:
        node["enum"] = [*node["enum"], "new"]
    elif "anyOf" in node:
        node["anyOf"] = node["anyOf"][:1]
    elif node["type"] == "integer":
        word, by = data.draw(st.sampled_from([("minimum", 1), ("minimum", -1), ("maximum", 1), ("maximum", -1)]))
        node[word] += by
    elif node["type"] == "object" and node["properties"]:
        name = data.draw(st.sampled_from(sorted(node["properties"])))
        if data.draw(st.booleans()):
            del node["properties"][name]
        else:
            node["required"] = sorted(set(node["required"]) ^ {name})
    else:
        node["type"] = "null"


@UNHURRIED
@given(st.data(), WHOLE)
def test_no_harm_passes_unseen(data, old):
    new = copy.deepcopy(old)
    harm(data, data.draw(st.sampled_from(list(nodes(new)))))
    assert any(change.breaking for change in compare(old, new))


@UNHURRIED
@given(st.data(), WHOLE, WHOLE)
def test_events_that_do_not_fit_were_told(data, old, new):
    """Two schemas of any kind: where nothing breaks, each event of the old one fits the new one."""
    event = data.draw(values(old))
    if not Draft202012Validator(new).is_valid(event):
        assert any(change.breaking for change in compare(old, new)) or set(new["properties"]) - set(old["properties"])
