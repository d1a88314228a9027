"""Settings as text for people: effective values with secrets masked, a first file, the JSON Schema."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import SecretStr

from cdc.settings.quantities import MASK
from cdc.settings.sources import mask_url
from cdc.settings.whole import Settings

TEMPLATE = """\
# cdc: from the outbox tables of MySQL and MariaDB to Kafka, exactly once.
# Check it with `cdc config validate -c FILE`; every value can be overridden by the environment, for instance
# CDC_SOURCES__SHOP__PASSWORD for sources.shop.password.

sources:
  shop:                                 # a name that stays: the checkpoint is kept under it
    url: mysql://cdc@127.0.0.1:3306     # or host, port and user
    # password_file: /run/secrets/shop  # or CDC_SOURCES__SHOP__PASSWORD
    # tls: {ca: ca.pem}                 # demand an encrypted connection
    tables:
      shop.outbox: {layout: native}     # native | debezium | cqrs (python-cqrs's table), or your own columns:
      # crm.events:
      #   columns: {id: uuid, name: kind, topic: target, key: customer, payload: body}
    start: snapshot                     # a first start: snapshot (the table's rows, then the log) | earliest (all the
                                        # log has) | latest (from now on)

kafka:
  bootstrap_servers: [127.0.0.1:9092]
  prefix: cdc                           # names of our own topics; must differ between environments that share a cluster
  # security: {protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: cdc, password_file: /run/secrets/kafka}

# Rows go to the topic in their topic column, unless a route says otherwise. The first match wins.
# `cdc route test -c FILE --event-name order.created --topic orders` shows what becomes of a row, and why.
# routes:
#   - match: {event_name: "order.*", topic: "orders"}
#     topic: "{topic}.v1"
#     key: "$.customer_id"              # where the row has no key: a column, or a JSON path into the payload
#     partition: shard                  # an integer column that says which; where it is NULL the key decides
#     headers: {drop: ["x-*"], rename: {trace: traceparent}, add: {tenant: "{tenant}"}}     # or: all | none
#     on_error: stop                    # stop | dead_letter | skip

unrouted: pass                          # rows without a route: pass | stop | dead_letter | skip
on_error: stop                          # rows that cannot become a record: stop | dead_letter (kept for replay) | skip
topics:
  create: own                           # own: make our own topics (checkpoints, dead letters) | none | all
http:
  listen: 127.0.0.1:8080                # /livez /readyz /metrics /status; port 0: any free one, see the log; off: none
"""


def effective(settings: Settings) -> dict[str, Any]:
    """What holds after defaults and overrides, as plain data, secrets masked, unset options left out."""
    shown: dict[str, Any] = _plain(settings.model_dump(exclude_none=True))
    for source in shown["sources"].values():
        if "url" in source:
            source["url"] = mask_url(source["url"])
    for route in shown["routes"]:
        route.setdefault("key_missing", None)
        if "key" not in route:
            del route["key_missing"]
    return shown


def effective_yaml(settings: Settings) -> str:
    """The same as YAML, in the order of the schema."""
    return yaml.safe_dump(effective(settings), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    made = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "cdc.yaml",
        "description": "Configuration of the cdc tailer",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return MASK if isinstance(value, SecretStr) else value
