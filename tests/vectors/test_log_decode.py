"""`cdc log decode` over every recording: the lines are the contract's, with equal values, and what ends it has a name."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from cdc.errors import CdcError, ConfigError, DecodeError, PreparedRowsUnknown
from cdc.operations.log_decode import decode
from cdc.operations.log_lines import json_line, text_line
from tests.running import cdc
from tests.vectors.binlog_cases import HERE, TABLE, Case, cases, differences

ALL = cases()


def laid_out(case: Case, folder: Path) -> list[Path]:
    """The recording's files under the names they had on their server."""
    paths = []
    for file in case.facts["files"]:
        packed = file["name"].endswith(".gz")
        path = folder / (file["server_file"] + ".gz" * packed)
        path.symlink_to(case.path.parent / file["name"])
        paths.append(path)
    return paths


def decoded(paths: list[Path]) -> tuple[list, CdcError | None, list[str]]:
    out, notes = [], []
    try:
        out.extend(decode(paths, [TABLE], note=notes.append))  # what came before an error stays
    except CdcError as error:
        return out, error, notes
    return out, None, notes


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_recording(case: Case, tmp_path: Path):
    got, error, _ = decoded(laid_out(case, tmp_path))
    assert differences(case, got, upto=error is not None) == []
    if case.facts["outcome"] == "rows":
        assert error is None
    if error is not None:
        assert error.exit_code in (1, 6)
        assert error.hint
    for transaction, want in zip(got, case.facts["expected"], strict=False):
        check_line(json.loads(json_line(transaction)), transaction, case.facts["definitions"][want["definition"]])
        assert "\n" not in text_line(transaction)


def check_line(line: dict, transaction, definition: list[dict]) -> None:
    """The line says what the transaction holds, in the forms of DESIGN 4.5."""
    assert list(line) == ["gtid", "file", "position", "commit_time", "rows"]
    types = {column["name"]: column["type"] for column in definition}
    for row, shown in zip(transaction.rows, line["rows"], strict=True):
        assert shown["table"] == "shop.outbox"
        assert list(shown["columns"]) == list(row.as_dict())
        for name, value in row.as_dict().items():
            assert form(shown["columns"][name], types.get(name, "")) == value or as_json(shown, name, value)


def form(shown: object, kind: str) -> object:
    """What a value was before it became JSON, as its column's type tells."""
    if isinstance(shown, dict) and list(shown) == ["b64"]:
        return base64.b64decode(shown["b64"])
    if isinstance(shown, str) and re.match(r"(tinyint|smallint|mediumint|int|bigint|bit)", kind):
        assert abs(int(shown)) > 2**53
        return int(shown)
    if isinstance(shown, str) and re.match(r"(datetime|timestamp)", kind):
        assert "T" in shown
        return shown.replace("T", " ")
    return shown


def as_json(shown: dict, name: str, value: object) -> bool:
    return isinstance(value, str) and json.loads(value) == shown["columns"][name]


def case_named(name: str) -> Case:
    return next(case for case in ALL if str(case) == name)


def test_the_command_prints_json_lines_and_ends_well(tmp_path: Path):
    case = case_named("mysql-9.7/mixed_transaction")
    done = cdc("log", "decode", *laid_out(case, tmp_path), "--table", "shop.outbox", "-o", "json")
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    want = [(t["transaction"]["gtid"], t["transaction"]["position"]) for t in case.facts["expected"]]
    assert [(line["gtid"], line["position"]) for line in lines] == want


@pytest.mark.parametrize("server", ["mysql-9.7", "mariadb-10.11"])
def test_xa_goes_on_from_file_to_file_and_says_what_is_missing(server: str, tmp_path: Path):
    paths = laid_out(case_named(f"{server}/xa_across_files"), tmp_path)
    whole, error, _ = decoded(paths)
    assert error is None
    assert whole
    _, error, _ = decoded(paths[1:])
    assert isinstance(error, PreparedRowsUnknown)
    assert "before this one" in str(error.hint)
    if len(paths) > 2:
        _, error, _ = decoded([paths[0], paths[2]])
        assert isinstance(error, ConfigError)
        assert "does not follow" in str(error)


def test_a_cut_file_gives_what_was_before_and_exit_6(tmp_path: Path):
    case = case_named("mariadb-10.11/many_rows_one_insert")
    name, _ = case.files[0]
    raw = (HERE / case.path.parent.name / case.facts["files"][0]["name"]).read_bytes()
    path = tmp_path / name
    path.write_bytes(raw[: case.facts["end_position"] - 5])
    done = cdc("log", "decode", path, "--table", "shop.outbox")
    assert done.code == 6
    assert len(done.out.splitlines()) == len(case.facts["expected"]) - 1
    assert "ends inside an event" in done.err
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(raw)[:-30])
    _, error, _ = decoded([packed])
    assert isinstance(error, DecodeError)
    assert "gzip" in str(error)


def test_a_file_that_is_no_log(tmp_path: Path):
    for content in (b"", b"#!/bin/sh\n", b"\xfdbin" + bytes(100)):
        (tmp_path / "x").write_bytes(content)
        _, error, _ = decoded([tmp_path / "x"])
        assert isinstance(error, DecodeError)
    _, error, _ = decoded([tmp_path / "nothing"])
    assert isinstance(error, ConfigError)


def test_open_transactions_at_the_end_are_told(tmp_path: Path):
    case = case_named("mysql-9.7/xa_across_files")
    paths = laid_out(case, tmp_path)
    _, error, notes = decoded(paths[:1])
    assert error is None
    assert any("prepared" in note for note in notes)


def test_a_table_without_schema_is_wrong_use(tmp_path: Path):
    done = cdc("log", "decode", tmp_path / "x", "--table", "outbox")
    assert done.code == 2
    assert "schema.table" in done.err
