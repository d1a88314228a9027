"""Recorded cases of the Outbox Event Router, run on the servers of the stack: their logs of today give the same records.

`tests/vectors/debezium` compares all 148 with recorded logs; here a part of them is written anew, so that what a server
writes into its log is looked at, too. One case of each kind: options, converters, types, keys, expansion, transactions.
"""

from tests.vectors.debezium.cases import cases, differences, expected_records, in_kafka, played

EVERY = 4
"""Cases stand in the file by kind, so each fourth one is a part of all kinds."""


def test_the_same_records_as_were_recorded(server, tmp_path):
    listed = differences()
    chosen = [case for case in cases() if server.kind in case.flavours and case.name not in listed][::EVERY]
    assert len(chosen) >= 25
    wrong = {}
    with played(server, chosen) as log:
        for case in chosen:
            expected = case.expected(server.kind)
            if expected["outcome"] == "sql refused":
                assert case.name in log.refused
                continue
            found = log.outcome(case, tmp_path)
            if expected["outcome"] != "records":
                same = found.error is not None
            else:
                same = found.error is None and in_kafka(found.records) == expected_records(case, server.kind)
            if not same:
                wrong[case.name] = found.error or found.records
    assert wrong == {}
