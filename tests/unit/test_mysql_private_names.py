"""The private names of mysql-replication and PyMySQL that cdc/mysql/stream.py and session.py stand on.

An upgrade that takes one away fails here, by name, instead of in production.
"""

import importlib
import inspect

import pytest
from pymysql.constants.COMMAND import COM_BINLOG_DUMP
from pymysqlreplication.binlogstream import BinLogStreamReader

from cdc.mysql.stream import PRIVATE_NAMES, LogRequest, dump_by_gtid
from cdc.position import GtidSet

NAMES = [(owner, name) for owner, names in PRIVATE_NAMES.items() for name in names]


@pytest.mark.parametrize(("owner", "name"), NAMES)
def test_it_is_still_there(owner: str, name: str):
    module, _, kind = owner.rpartition(".")
    found = getattr(importlib.import_module(module), kind)
    assert callable(getattr(found, name, None)), f"{owner}.{name} is gone: cdc/mysql/stream.py relies on it"


def test_the_connection_keeps_its_socket_where_we_look_for_it():
    source = inspect.getsource(importlib.import_module("pymysql.connections").Connection.connect)
    assert "self._sock = sock" in source, "PyMySQL's Connection has no _sock any more: cdc/mysql/session.py reads it"


class Recorder:
    """Stands for the connection that the library is given."""

    def __init__(self):
        self.sent, self._next_seq_id = [], 0

    def cursor(self):
        return self

    def execute(self, *_):
        return None

    def fetchone(self):
        return None

    def close(self):
        return None

    def _read_packet(self):
        return None

    def _write_bytes(self, data):
        self.sent.append(data)


def test_the_library_sends_its_request_as_the_one_packet_that_we_replace():
    made = Recorder()
    settings = {"host": "nowhere", "user": "nobody", "password": "secret"}
    reader = BinLogStreamReader(
        connection_settings=settings,
        server_id=7,
        resume_stream=True,
        blocking=True,
        log_file="binlog.000042",
        log_pos=1234,
        report_slave={"hostname": "cdc"},
        slave_heartbeat=5,
        pymysql_wrapper=lambda **_: made,
        enable_logging=False,
    )
    reader._BinLogStreamReader__connect_to_stream()
    registration, dump = made.sent
    assert registration[4] == 0x15
    assert dump[4] == COM_BINLOG_DUMP
    assert dump[:4] == (len(dump) - 4).to_bytes(4, "little")
    assert dump[5:] == (1234).to_bytes(4, "little") + b"\0\0" + (7).to_bytes(4, "little") + b"binlog.000042"
    assert not hasattr(reader, "_ctl_connection"), "the library opens a second connection that nobody closes"


def test_our_own_request_carries_holes_and_tags():
    uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
    gtid_set = GtidSet.parse(f"{uuid}:1-5:7-9,{uuid}:tag:1-3")
    packet = dump_by_gtid(LogRequest("", 4, 99, gtid_set), gtid_set)
    assert packet[:4] == (len(packet) - 4).to_bytes(4, "little")
    assert packet[4] == 0x1E
    flags, server_id = packet[5:7], packet[7:11]
    assert (flags, server_id) == (b"\4\0", (99).to_bytes(4, "little"))
    assert packet[11:15] == bytes(4)  # no file name
    assert packet[15:23] == (4).to_bytes(8, "little")
    size = int.from_bytes(packet[23:27], "little")
    assert GtidSet.decode(packet[27:]) == gtid_set
    assert size == len(packet) - 27
