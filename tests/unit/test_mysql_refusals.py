"""What MySQL 9.7 and MariaDB 10.11 said in such cases, word for word, and what it means to us.

Most of these are met by our own checks first, with better words; here is what is left when
a server changes its mind between check and dump. The live ones are in
tests/integration/test_mysql_history.py.
"""

import pytest

from cdc.errors import Diverged, PositionLost, SourceAccessDenied, SourceError, SourceUnavailable, WrongServer
from cdc.mysql.address import ServerAddress
from cdc.mysql.refusals import refusal

ADDRESS = ServerAddress("db1", 3306, "cdc", "long-horse")


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (1236, "Could not find first log file name in binary log index file", PositionLost),
        (
            1236,
            "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere",
            PositionLost,
        ),
        (
            1236,
            "Could not find GTID state requested by slave in any binlog files. Probably the required files have been purged.",
            PositionLost,
        ),
        (1236, "Client requested source to start replication from position > file size", WrongServer),
        (1236, "Client requested master to start replication from impossible position; the first event", WrongServer),
        (1236, "bogus data in log event; the first event 'binlog.000002' at 120", WrongServer),
        (1236, "binlog truncated in the middle of event; consider out of disk space on master", WrongServer),
        (
            1236,
            "Error: connecting slave requested to start from GTID 0-1-500, which is not in the master's binlog",
            WrongServer,
        ),
        (1236, "Replica has more GTIDs than the source has, using the source's SERVER_UUID.", Diverged),
        (
            1236,
            "A replica with the same server_uuid/server_id as this replica has connected to the source; the first event",
            SourceUnavailable,
        ),
        (
            4052,
            "A slave with the same server_uuid/server_id is already connected; the first event '.' at 4",
            SourceUnavailable,
        ),
        (1236, "could not find next log; the first event 'binlog.000011' at 2830", SourceUnavailable),
        (1236, "I/O error reading log event; the first event 'binlog.000001' at 158", SourceUnavailable),
        (1227, "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s)", SourceAccessDenied),
        (1053, "Server shutdown in progress", SourceUnavailable),
        (1317, "Query execution was interrupted", SourceUnavailable),
        (1236, "something no server has said yet", SourceError),
    ],
)
def test_the_meaning_of_what_a_server_says(code: int, text: str, error: type[SourceError]):
    found = refusal(code, text, ADDRESS, "binlog.000002:120")
    assert type(found) is error
    assert text in str(found)
    assert f"({code})" in str(found)
    assert found.hint
    assert "long-horse" not in f"{found} {found.hint}"
    assert found.retryable is (error is SourceUnavailable)
