"""Django: the event goes through the connection of the atomic block, which is the transaction."""

from typing import Any

from cdc.outbox import Event, Outbox

outbox = Outbox()


def place_order(customer: str, total: int, using: str = "default") -> int:
    """One transaction: both rows, or neither. With models it is `Order.objects.create(...)` in the block."""
    from django.db import connections, transaction

    with transaction.atomic(using=using):
        connection: Any = connections[using]
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (customer, total) VALUES (%s, %s)", [customer, total])
            number: int = cursor.lastrowid
        outbox.add(connection, Event("order.created", "orders", {"number": number, "total": total}, key=customer))
        if total < 0:
            raise ValueError("an order costs something")
    return number
