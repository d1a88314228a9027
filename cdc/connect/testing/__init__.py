"""A Kafka Connect cluster in memory, for tests of programs that talk to one: no JVM, no Kafka, milliseconds.

    from cdc.connect import Address, Client
    from cdc.connect.testing import FakeConnect

    fake = FakeConnect()
    with Client(Address(("http://connect",)), answering=fake.answer) as client:
        client.create("lines", {...})
        fake.fail_task("lines", 0, "java.io.IOException: disk full")

    with fake.serving() as url:          # over real HTTP, for programs in other processes or languages
        ...

It keeps state, validates, refuses and words its refusals as Connect 4.1.2 does (compared with recorded answers of a
real one in this project's tests). What it does not do: run connectors. Tasks are RUNNING because nobody told them to
fail, and offsets are what was set.
"""

from cdc.connect.testing.cluster import FakeConnect
from cdc.connect.testing.plugins import PLUGINS, FakePlugin, FakeTransform, Known

__all__ = ["PLUGINS", "FakeConnect", "FakePlugin", "FakeTransform", "Known"]
