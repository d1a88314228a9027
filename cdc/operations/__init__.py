"""What an operator does, where it needs several parts of the house: one file per verb.

    log_decode      log files to committed rows, without a server
    log_show        the same from a live server's log
    log_lines       a source transaction as a JSON line, or as a line for people
    outbox_check    a live outbox table against its layout, and the ALTER that makes it so
    route_test      what the routes do with a row, and why; sends nothing
    topics_plan     the topics that the configuration needs: compared, and made
    checkpoint_set  a checkpoint moved by hand, with what comes again or never
    dead_letters    parked rows listed, replayed once, dismissed
    replay          published rows published again
    connectors      manifests against a Kafka Connect cluster
    handover_*      from Debezium to the tailer and back

Functions take plain values or the settings, give data, and raise errors of `cdc.errors`;
printing is `cdc.cli`'s.
"""
