"""`cdc config` as people call it."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from cdc.cli.root import root


@pytest.fixture
def cdc():
    def call(*args):
        return CliRunner().invoke(root, ["config", *map(str, args)])

    return call


def test_init_then_validate(cdc, tmp_path):
    file = tmp_path / "cdc.yaml"
    made = cdc("init", "-o", file)
    assert (made.exit_code, made.stdout) == (0, "")
    checked = cdc("validate", "-c", file)
    assert (checked.exit_code, checked.stdout) == (0, "")
    assert checked.stderr == "ok: 1 source, 1 table, 0 routes\n"


def test_init_never_overwrites(cdc, tmp_path):
    file = tmp_path / "cdc.yaml"
    file.write_text("mine")
    result = cdc("init", "-o", file)
    assert result.exit_code == 2
    assert "already there" in result.stderr
    assert file.read_text() == "mine"
    assert cdc("init", "-o", tmp_path / "no" / "where.yaml").exit_code == 2


def test_init_prints_without_a_file(cdc):
    assert yaml.safe_load(cdc("init").stdout)["sources"]["shop"]["start"] == "snapshot"


def test_show_has_overrides_and_no_secret(cdc, tmp_path, monkeypatch):
    file = tmp_path / "cdc.yaml"
    cdc("init", "-o", file)
    monkeypatch.setenv("CDC_SOURCES__SHOP__PASSWORD", "hush1")
    monkeypatch.setenv("CDC_KAFKA__PREFIX", "dev")
    for form, read in (("yaml", yaml.safe_load), ("json", json.loads)):
        result = cdc("show", "-c", file, "-o", form)
        assert result.exit_code == 0
        assert "hush1" not in result.output
        data = read(result.stdout)
        assert data["sources"]["shop"]["password"] == "********"
        assert data["kafka"]["prefix"] == "dev"


def test_schema_is_json(cdc):
    assert json.loads(cdc("schema").stdout)["title"] == "cdc.yaml"


def test_a_mistake_is_one_line_and_exit_2(cdc, tmp_path):
    file = tmp_path / "cdc.yaml"
    cdc("init", "-o", file)
    file.write_text(file.read_text().replace("tables:", "tabels:"))
    for command in ("validate", "show"):
        result = cdc(command, "-c", file)
        assert result.exit_code == 2
        assert result.stdout == ""
        error, hint = result.stderr.splitlines()
        assert error == f'error: {file}:10:5: sources.shop.tabels: unknown key; did you mean "tables"?'
        assert hint.startswith("hint: ")


def test_a_missing_file_says_how_to_make_one(cdc, tmp_path):
    result = cdc("validate", "-c", tmp_path / "x.yaml")
    assert result.exit_code == 2
    assert "cdc config init" in result.stderr
