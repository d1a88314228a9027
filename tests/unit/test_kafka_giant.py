"""How long a Kafka transaction may stay open, and what is said when a source transaction takes longer."""

import pytest

from cdc.errors import TransactionTooLong
from cdc.kafka.giant import OpenTransaction, longest


def test_the_brokers_limit_counts_where_it_is_known():
    assert longest({"transaction.max.timeout.ms": "900000"}, 60.0) == 900.0
    assert longest({}, 60.0) == 60.0


def test_one_that_is_open_for_too_long_is_named():
    OpenTransaction("shop", limit=3600).look("a piece")
    with pytest.raises(TransactionTooLong, match="source shop is too long for one Kafka transaction") as caught:
        OpenTransaction("shop", limit=0, records=7).look("a piece")
    assert caught.value.exit_code == 6
    assert "transaction.max.timeout.ms" in (caught.value.hint or "")
