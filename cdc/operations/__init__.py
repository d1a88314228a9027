"""What an operator does, where it needs several parts of the house: one file per verb.

    log_decode   log files to committed rows, without a server
    log_show     the same from a live server's log
    log_lines    a source transaction as a JSON line, or as a line for people
    outbox_check a live outbox table against its layout, and the ALTER that makes it so

Functions take plain values or the settings, give data, and raise errors of `cdc.errors`;
printing is `cdc.cli`'s.
"""
