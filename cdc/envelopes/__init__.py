"""Pure: a row to the value and the headers of its record. One file per convention.

An envelope has `row_key` (is the row's own key the record's?) and
`plan(table, columns) -> encode`, where `columns` maps roles (id, name, payload, ...) to
column names and `encode(values)` gives `(value, headers)`; this is `cdc.routing`'s
protocol, fulfilled by shape, because the two rooms do not know each other.

Value bytes are never re-encoded, NULL is a tombstone. Header lists are lists of tuples
(str, bytes): aiokafka takes nothing else.
"""
