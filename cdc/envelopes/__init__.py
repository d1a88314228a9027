"""Pure: a row to the value and the headers of its record. One file per convention.

An envelope has `plan(table, columns)`, where `columns` maps roles (id, name, payload, ...) to
column names. It looks everything up once and gives a `model.Encoding`: functions of a row's values
to value and headers, and to what key, partition and time the row itself asks for. This is
`cdc.routing`'s protocol, fulfilled by shape, because the two rooms do not know each other.

`headed` is what plain, cqrs and cloudevents share, `fields` the values of single columns. `debezium` stands on
`router_options` (what users write), `connect_types`, `converters`, `expand` and `java_text`.

Value bytes are never re-encoded unless a route asks for it, NULL is a tombstone. Header lists are
lists of tuples (str, bytes or None): aiokafka takes nothing else.
"""
