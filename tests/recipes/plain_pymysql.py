"""PyMySQL without a framework: the order and its event in one transaction."""

from typing import Any

from cdc.outbox import Event, Outbox

outbox = Outbox()


def place_order(connection: Any, customer: str, total: int) -> int:
    """One transaction: both rows, or neither."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (customer, total) VALUES (%s, %s)", (customer, total))
            number: int = cursor.lastrowid
            outbox.add(cursor, Event("order.created", "orders", {"number": number, "total": total}, key=customer))
        if total < 0:
            raise ValueError("an order costs something")  # noqa: TRY301  # business rules live here
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return number
