"""The whole error tree. Every error of this package is one of these.

    CdcError
    ├── ConfigError                 bad configuration: nothing was started             (exit 2)
    ├── SchemaBreaks                a schema of an event would hurt those who read it  (exit 4)
    ├── OutboxError                 the write library refuses, before any SQL is sent
    │   ├── InvalidEvent            name, topic, key, headers, id or time Kafka or the table would refuse
    │   ├── PayloadNotSerializable  no way to bytes; says the path inside the payload
    │   ├── EventTooLarge           payload, key or headers over the limit
    │   ├── EventNotRegistered      not in the EventMap, or of another type than registered
    │   ├── NotInTransaction        the connection commits each statement by itself
    │   ├── UnsupportedConnection   an object we cannot write through
    │   └── PollingRefused          python-cqrs's poller was given a repository whose events the tailer publishes
    ├── SourceError                 the database side
    │   ├── SourceUnavailable       not reachable, or the connection was lost          (retryable)
    │   ├── SourceAccessDenied      wrong user, password or grants
    │   ├── ServerNotReady          the server's settings do not allow tailing
    │   │   ├── LogDisabled         log_bin is off
    │   │   ├── LogFormatNotRow     binlog_format is not ROW
    │   │   ├── RowMetadataNotFull  binlog_row_metadata is not FULL
    │   │   └── RowImageIncomplete  an INSERT's image lacks columns we need
    │   ├── TableMissing            an outbox table is not there
    │   ├── ColumnMissing           an outbox table lacks a column its layout needs
    │   ├── PositionLost            the server no longer has the position              (exit 6)
    │   ├── WrongServer             another history than the checkpoint's              (exit 6)
    │   ├── Diverged                this server lacks transactions we have published   (exit 6)
    │   ├── PreparedRowsUnknown     an XA COMMIT whose rows cannot be found            (exit 6)
    │   ├── StatementInLog          data changed by a statement in text form           (exit 6)
    │   ├── RowTooLarge             a row over max_row_bytes                           (exit 6)
    │   └── DecodeError             bytes of the log we cannot read                    (exit 6)
    ├── RowRefused                  one row that cannot become a record; the route's
    │   │                           on_error decides, `stop` raises it                 (exit 6)
    │   ├── Unrouted                no route matches and `unrouted` is stop
    │   ├── TopicNotAllowed         a topic of our own, an internal one, or not in topics.allow
    │   ├── TopicInvalid            a name Kafka refuses
    │   ├── TopicMissing            a topic that does not exist
    │   ├── TopicDenied             a topic that Kafka does not let us write to
    │   ├── KeyMissing              the key rule finds nothing in the row
    │   ├── ValueInvalid            a value of the row that its record cannot carry
    │   ├── PartitionInvalid        a partition that the topic does not have
    │   ├── UnexpectedUpdate        an UPDATE of a row where the table's `router` says fatal
    │   ├── RecordTooLarge          larger than the topic takes
    │   └── RecordRefused           the broker takes all around it, but not this record
    ├── SinkError                   the Kafka side
    │   ├── KafkaUnavailable        no broker answers                                  (retryable)
    │   ├── KafkaAccessDenied       authentication or authorisation refused
    │   ├── Doubt                   a transaction that may or may not have happened;
    │   │   │                       fence again and read the checkpoint                (retryable)
    │   │   └── Refused             the broker refused a record; which one is found out next
    │   ├── Unfit                   records of a batch that the sink knows Kafka would refuse; nothing was sent
    │   ├── DeadLetterRefused       a dead letter that cannot be kept                  (exit 6)
    │   ├── PartitionsChanged       a topic has other partitions, and that shall stop  (exit 6)
    │   ├── Fenced                  a newer instance of this source works              (exit 5)
    │   ├── StillAtWork             a command found an instance, or another person, at work
    │   ├── CheckpointLost          the checkpoint is gone: never guess                (exit 6)
    │   ├── CheckpointUnreadable    a checkpoint we cannot understand                  (exit 6)
    │   ├── TransactionTooLong      a source transaction that takes longer than Kafka lets one be open (exit 6)
    │   └── HangingTransaction      a transaction without end hides the checkpoint     (exit 6)
    ├── HandoverRefused             Debezium and the tailer cannot be exchanged exactly (exit 6)
    └── ConnectError                the Kafka Connect side
        ├── ConnectUnavailable      no worker answers, or none can do it now           (retryable)
        ├── ConnectAccessDenied     credentials or certificate refused
        ├── ConnectRefused          a request that the worker will never do
        │   ├── ConnectorMissing    no such connector, task, logger or plug-in
        │   ├── ConnectorExists     the name is taken
        │   └── ConnectorInvalid    the configuration is wrong; says which fields
        └── ConnectorNotReady       a connector or task failed, or is not in the wanted state in time

`str(error)` says what happened and on what; `.hint` is the next command or step to
take; `.retryable` tells the pump that starting over from the checkpoint may help;
`.exit_code` is the process's when the error ends it. Messages never hold secrets.
Foreign exceptions are mapped to these in the one module that talks to that library,
with `raise ... from`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class CdcError(Exception):
    """Base of all errors: a message, a hint, and what it means for the process."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(CdcError):
    """The configuration is wrong; nothing was started."""

    exit_code = 2


class SchemaBreaks(CdcError):
    """A schema of an event changed so that readers of this version would be hurt."""

    exit_code = 4


class OutboxError(CdcError):
    """The write library refuses; no SQL was sent."""


class InvalidEvent(OutboxError, ValueError):
    """A name, topic, key, header, id or time that Kafka or the table would refuse."""


class PayloadNotSerializable(OutboxError, TypeError):
    """The payload cannot become bytes; the message holds the path inside it."""


class EventTooLarge(OutboxError, ValueError):
    """Payload, key or headers over the limit."""


class EventNotRegistered(OutboxError, TypeError):
    """The event's name is not in the EventMap, or its type is not the registered one."""


class NotInTransaction(OutboxError, RuntimeError):
    """The connection commits each statement by itself: the event would not be atomic."""


class UnsupportedConnection(OutboxError, TypeError):
    """Not a session, connection or cursor that events can be written through."""


class PollingRefused(OutboxError, RuntimeError):
    """A poller asked for events that the tailer publishes."""


class SourceError(CdcError):
    """The database side."""


class SourceUnavailable(SourceError):
    """Not reachable, or the connection was lost."""

    retryable = True


class SourceAccessDenied(SourceError):
    """Wrong user or password, or grants are missing."""


class ServerNotReady(SourceError):
    """The server's settings do not allow tailing."""


class LogDisabled(ServerNotReady):
    """The server writes no binary log."""


class LogFormatNotRow(ServerNotReady):
    """binlog_format is not ROW."""


class RowMetadataNotFull(ServerNotReady):
    """binlog_row_metadata is not FULL: rows in the log have no column names."""


class RowImageIncomplete(ServerNotReady):
    """The log's row image lacks a column that is needed."""


class TableMissing(SourceError):
    """An outbox table is not there."""


class ColumnMissing(SourceError):
    """An outbox table lacks a column that its layout needs."""


class PositionLost(SourceError):
    """The server no longer has the log at the position to resume at."""

    exit_code = 6


class WrongServer(SourceError):
    """The server has another history than the checkpoint's."""

    exit_code = 6


class Diverged(SourceError):
    """The server lacks transactions whose rows were already published."""

    exit_code = 6


class PreparedRowsUnknown(SourceError):
    """An XA COMMIT whose rows were prepared where we cannot read any more."""

    exit_code = 6


class StatementInLog(SourceError):
    """Data was changed by a statement in text form: its rows are not in the log."""

    exit_code = 6


class RowTooLarge(SourceError):
    """A row of an outbox that has more bytes in the log than `max_row_bytes`."""

    exit_code = 6


class DecodeError(SourceError):
    """Bytes of the log that cannot be read: garbage, or something unknown that may hold rows."""

    exit_code = 6


class RowRefused(CdcError):
    """One row that cannot become a record; the route's `on_error` decides what happens."""

    exit_code = 6
    reason: ClassVar[str] = "refused"


class Unrouted(RowRefused):
    """No route matches the row."""

    reason = "unrouted"


class TopicNotAllowed(RowRefused):
    """A topic of our own (`<prefix>.*`), an internal one (`__*`), or one `topics.allow` leaves out."""

    reason = "topic_not_allowed"


class TopicInvalid(RowRefused):
    """A topic name that Kafka refuses."""

    reason = "topic_invalid"


class TopicMissing(RowRefused):
    """A topic that does not exist."""

    reason = "topic_missing"


class TopicDenied(RowRefused):
    """A topic that Kafka does not let us write to."""

    reason = "topic_denied"


class KeyMissing(RowRefused):
    """The key rule finds nothing usable in the row."""

    reason = "key_missing"


class ValueInvalid(RowRefused):
    """A value of the row that its record cannot carry, such as headers that are no object of strings."""

    reason = "value_invalid"


class PartitionInvalid(RowRefused):
    """The row names a partition that the topic does not have, or none at all."""

    reason = "partition_invalid"


class UnexpectedUpdate(RowRefused):
    """A row of an outbox was changed, and `table.op.invalid.behavior` wants to know of it; `grave`: it says `error`."""

    reason = "unexpected_update"
    grave = False


class RecordTooLarge(RowRefused):
    """Larger than the topic or a request takes."""

    reason = "record_too_large"


class RecordRefused(RowRefused):
    """The broker does not take this record, alone among others that it takes."""

    reason = "record_refused"


class SinkError(CdcError):
    """The Kafka side."""


class KafkaUnavailable(SinkError):
    """No broker answers."""

    retryable = True


class KafkaAccessDenied(SinkError):
    """Kafka refused the credentials, or an operation."""


class Doubt(SinkError):
    """A transaction that may or may not have happened: only the checkpoint can tell."""

    retryable = True


class Refused(Doubt):
    """The broker refused a batch of records; the transaction was given up.

    `suspects` are their indexes in the batch, of each partition those that were refused first.
    """

    exit_code = 6

    def __init__(self, message: str, *, hint: str | None = None, suspects: tuple[int, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.suspects = suspects


class Unfit(SinkError):
    """Records of a batch that Kafka would refuse, by their index; nothing was sent, and nothing is in doubt."""

    def __init__(self, message: str, *, refusals: Mapping[int, RowRefused]) -> None:
        super().__init__(message, hint="on_error of the rows' routes decides")
        self.refusals = refusals


class DeadLetterRefused(SinkError):
    """A dead letter that cannot be kept: its topic is missing, takes too little, or is not as it must be."""

    exit_code = 6


class PartitionsChanged(SinkError):
    """A topic has another number of partitions than before, and `kafka.on_partition_change` is stop."""

    exit_code = 6


class Fenced(SinkError):
    """A newer instance of this source works; this one must end."""

    exit_code = 5


class StillAtWork(SinkError):
    """A command would get in the way of an instance that works, or of another person's command; nothing was done."""


class CheckpointLost(SinkError):
    """There must have been a checkpoint, and it is gone."""

    exit_code = 6


class CheckpointUnreadable(SinkError):
    """A checkpoint of a higher version, or one that is not ours."""

    exit_code = 6


class TransactionTooLong(SinkError):
    """A source transaction that takes longer than the brokers let a Kafka transaction be open."""

    exit_code = 6


class HangingTransaction(SinkError):
    """A transaction without end hides what is committed in the checkpoint topic."""

    exit_code = 6


class HandoverRefused(CdcError):
    """The tailer cannot go on where Debezium stands, or the reverse, without a gap or a repetition."""

    exit_code = 6


class ConnectError(CdcError):
    """The Kafka Connect side."""


class ConnectUnavailable(ConnectError):
    """No worker answers, or none could do what was asked in the time given (a rebalance, a leader that died)."""

    retryable = True


class ConnectAccessDenied(ConnectError):
    """The worker, or what stands before it, refused credentials or certificate."""


class ConnectRefused(ConnectError):
    """A request that the worker will never do as it is."""


class ConnectorMissing(ConnectRefused):
    """No such connector, task, logger or plug-in."""


class ConnectorExists(ConnectRefused):
    """The name of the connector is taken."""


class ConnectorInvalid(ConnectRefused):
    """The configuration is wrong; the message names the fields."""


class ConnectorNotReady(ConnectError):
    """A connector or one of its tasks failed, or is not in the wanted state in time."""
