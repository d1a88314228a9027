"""`cdc.yaml`, the CDC_* environment and secret files: read, checked, and handed out as plain values.

    settings = load("cdc.yaml")
    settings.source("shop").address          cdc.mysql's ServerAddress
    settings.table_specs("shop")             what the source shall read
    settings.router_for("shop", topics)      the router of that source
    settings.kafka.address()                 cdc.kafka's KafkaAddress

Pydantic stays in this room; the adapters never see these objects. Every mistake is a
ConfigError that lists all of them, each with file, line, column and path.
"""

from cdc.settings.load import load
from cdc.settings.whole import Settings

__all__ = ["Settings", "load"]
