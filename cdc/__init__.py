"""cdc: transactional outbox for MySQL and MariaDB, exactly once into Kafka.

Nothing is imported here: services import `cdc.outbox` alone, and that must stay
cheap. The service is composed in `cdc.tailer`; the page to read first is `cdc.pump`.
"""

__version__ = "0.1.0"
