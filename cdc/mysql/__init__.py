"""Everything that talks to a MySQL or MariaDB server.

    address    where a server is and how to log in, TLS included
    session    SQL over PyMySQL, in a thread; the one place that knows PyMySQL's errors
    checks     may this server be tailed: log, format, metadata, grants, tables, columns
    findings   all of it as a list, and more, for people who set a server up
    stream     the connection that the log comes through: login, registration, dump request
    hose       its socket, read by a thread into a bounded hand-over
    peek       a short look into a log file: its begin, and the transaction before a place
    prepared   rows of an XA transaction that was prepared where we have not read
    server_ids the number we read the log under
    places     where the log begins and ends now
    identity   is the log of this server still the one a position belongs to?
    promoted   where a position lies in another MariaDB's log
    headroom   how long the server keeps what we still need
    refusals   what a server says instead of the log, as our errors
    source     `MySqlSource`: all of it as the pump's Source

The bytes of the log are understood by `cdc.binlog`, which knows no server.
"""
