"""Every recorded case of Debezium's Outbox Event Router, from recorded logs through our decoder, router and envelope."""

import base64
import gzip
import json
import re
from functools import cache

import pytest

from cdc.position import Position
from tests.vectors.debezium.cases import HERE, Case, Log, cases, differences, expected_records, in_kafka

MOST_DIFFERENCES = 40
CASES = [(flavour, case) for case in cases() for flavour in case.flavours]


@cache
def recorded(flavour: str) -> Log:
    data = json.loads(gzip.decompress((HERE / f"{flavour}.json.gz").read_bytes()))
    start = Position(flavour, "", data["file"], data["position"])
    return Log(start, [base64.b64decode(data["log"])], data["schemas"], set(data["refused"]))


def verdict(case: Case, flavour: str, folder) -> str:
    """`equal`, or in which way it is not."""
    expected, log = case.expected(flavour), recorded(flavour)
    if expected["outcome"] == "sql refused":
        return "equal" if case.name in log.refused else "the server took it"
    found = log.outcome(case, folder)
    if expected["outcome"] != "records":
        return "equal" if found.error is not None else "goes on"
    if found.error is not None:
        assert found.error.hint or str(found.error)
        return "refused"
    return "equal" if in_kafka(found.records) == expected_records(case, flavour) else "other records"


@pytest.mark.parametrize(("flavour", "case"), CASES, ids=lambda one: one if isinstance(one, str) else one.name)
def test_equal_or_on_the_list(flavour, case, tmp_path):
    listed = differences().get(case.name)
    found = verdict(case, flavour, tmp_path)
    if listed is None:
        assert found == "equal"
    else:
        assert found in {"equal", listed["ours"]}


def test_the_list_is_short_and_says_why():
    listed = differences()
    assert len(listed) <= MOST_DIFFERENCES
    assert set(listed) <= {case.name for case in cases()}
    assert all(entry["reason"] for entry in listed.values())


def test_users_read_the_same_list(tmp_path):
    """connectors/README.md has each case with its reason, and how many are equal."""
    text = (HERE.parents[2] / "connectors" / "README.md").read_text()
    told = {
        name: {"ours": ours, "reason": reason}
        for ours, reason, names in re.findall(
            r"^\| (goes on|other records|refused) \| (.+?) \| (.+?) \|$", text, re.MULTILINE
        )
        for name in re.findall(r"`([a-z0-9-]+)`", names)
    }
    assert told == differences()
    assert f"of {len(cases())} recorded" in text
    assert f"cases {len(cases()) - len(told)} are equal" in text
    for name in told:  # on one server at least
        case = next(case for case in cases() if case.name == name)
        assert {verdict(case, flavour, tmp_path) for flavour in case.flavours} != {"equal"}, name
