"""The character sets of the log, against what the servers themselves say of them."""

from __future__ import annotations

import pytest

from cdc.binlog.charsets import charset_of, decoder

ONE_BYTE = [
    "ascii",
    "cp1250",
    "cp1251",
    "cp1256",
    "cp1257",
    "cp850",
    "cp852",
    "cp866",
    "dec8",
    "greek",
    "hebrew",
    "hp8",
    "koi8r",
    "koi8u",
    "latin1",
    "latin2",
    "latin5",
    "latin7",
    "macce",
    "macroman",
    "swe7",
    "tis620",
]


def collations(server) -> dict[int, str]:
    columns = server.run("SHOW COLUMNS FROM information_schema.collation_character_set_applicability LIKE 'ID'")
    table = "collation_character_set_applicability" if columns else "collations"  # MariaDB's own ids are there
    rows = server.run(f"SELECT id, character_set_name FROM information_schema.{table} WHERE id IS NOT NULL")
    return {int(number): str(charset) for number, charset in rows}


def test_every_collation_of_the_server_is_known(server):
    wrong = {n: (charset_of(n), charset) for n, charset in collations(server).items() if charset_of(n) != charset}
    assert wrong == {}


@pytest.mark.parametrize("charset", ONE_BYTE)
def test_every_character_of_a_one_byte_set_is_the_servers(server, charset):
    number = next(n for n, c in collations(server).items() if c == charset)
    codes = [code for code in range(256) if charset != "ascii" or code < 128]
    row = server.run("SELECT " + ", ".join(f"CONVERT(_{charset} X'{code:02x}' USING utf8mb4)" for code in codes))[0]
    decode, wrong = decoder(number), []
    for code, text in zip(codes, row, strict=True):
        if text in (None, "", "\ufffd") or (text == "?" and code != 63):
            continue  # no character has this code
        if decode(bytes([code])) != text:
            wrong.append((hex(code), text))
    assert wrong == []
