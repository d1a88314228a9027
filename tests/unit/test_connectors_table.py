"""Every test that the feature table of connectors/README.md names is there, and every line but a "no" names one."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "connectors" / "README.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
DEFINED = {
    name
    for path in TESTS.rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name):
    assert name in DEFINED


def test_every_line_of_the_table_names_its_test():
    table = PAGE[PAGE.index("| | cdc | kcctl |") :]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    assert len(rows) > 20
    for row in rows[1:]:
        assert len(row) == 7, row
        assert row[1] == "**no**" or row[6].strip("`") in DEFINED, row
