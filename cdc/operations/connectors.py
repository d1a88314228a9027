"""`cdc connectors plan | validate | apply | export | offsets`: what needs several questions to a Connect cluster.

Each function takes an open client and plain values and returns data; the command line prints. Nothing is written
before every manifest was judged by its plug-in: an apply either finds all of them right or changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from cdc.connect.answers import Connector, Offset, Validation
from cdc.connect.apply import set_state
from cdc.connect.client import Client
from cdc.connect.manifest import Manifest, keep
from cdc.connect.plan import Plan, make
from cdc.connect.readiness import wait_until
from cdc.connect.secret import Mask
from cdc.errors import ConfigError, ConnectorInvalid, ConnectorNotReady, ConnectRefused

Tell = Callable[[str], None]

_DEBEZIUM = ("io.debezium.connector.mysql.", "io.debezium.connector.mariadb.")


def survey(
    client: Client,
    manifests: Sequence[Manifest],
    *,
    managed: Sequence[str] = (),
    prune: bool = False,
    owns: Sequence[str] = (),
) -> Plan:
    """Ask the cluster about every manifest and compare; ``managed``: all names that have one."""
    live, judged = client.connectors(), {one.name: _judged(client, one) for one in manifests}
    return make(manifests, live, judged, managed=managed, prune=prune, owns=owns)


def _judged(client: Client, one: Manifest) -> Validation:
    try:
        return client.validate(one.config)
    except (ConnectorInvalid, ConnectRefused) as error:  # no such class: there is nothing to judge it
        mask = Mask((), one.config)
        mask.hide(*one.hidden)
        told = {"name": "connector.class", "errors": (mask.text(str(error)),)}
        return Validation.model_validate({"name": one.name, "configs": ({"value": told},), "error_count": 1})


def refuse_problems(plan: Plan) -> None:
    """ConnectorInvalid if a plug-in would refuse something."""
    if plan.problems:
        lines = [
            f"{name}: {field}: {text}"
            for name, wrong in plan.problems.items()
            for field, texts in wrong.items()
            for text in texts
        ]
        raise ConnectorInvalid(
            "\n  ".join(["Connect would refuse these configurations; nothing was changed:", *lines]),
            hint="correct the manifests; `cdc connectors plugins show CLASS` describes every option",
        )


def passwords_of(client: Client, config: Mapping[str, str | None]) -> list[str]:
    """The options that the connector's plug-in declares to be passwords."""
    try:
        definitions = client.definitions(config.get("connector.class") or "")
    except ConnectRefused:
        return []  # the plug-in is gone from the workers; the options' names must do
    return [one.name for one in definitions if one.type == "PASSWORD"]


def mask_of(client: Client, connector: Connector) -> Mask:
    """Knows the secrets of one connector."""
    return Mask(passwords_of(client, connector.config), connector.config)


def manifest_of(connector: Connector, state: str, mask: Mask) -> tuple[str, dict[str, str]]:
    """A live connector as a manifest; and the variables that stand for its secrets, with what is to be set in them."""
    variables: dict[str, str] = {}
    config = {}
    for name, value in sorted(connector.config.items()):
        if name == "name" or value is None:
            continue
        if mask.value(name, value) == value:
            config[name] = keep(value)
            continue
        variable = f"{connector.name}_{name}".upper()
        variable = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in variable)
        variable = variable if variable[0].isalpha() else f"C_{variable}"
        variables[variable] = name
        config[name] = f"${{{variable}}}"
    document = {"name": connector.name, "state": state, "config": config}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000), variables


def export(client: Client, names: Sequence[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, manifest and variables of live connectors, all without names."""
    live = client.connectors()
    missing = [name for name in names if name not in live]
    if missing:
        raise ConfigError(f"there is no connector {', '.join(missing)}", hint=f"there are: {', '.join(sorted(live))}")
    for name in sorted(names or live):
        info, status = live[name].info, live[name].status
        if info is None:
            continue  # deleted meanwhile
        state = status.connector.state.lower() if status else "running"
        known = state if state in ("paused", "stopped") else "running"
        yield name, *manifest_of(info, known, mask_of(client, info))


@contextmanager
def stopped(client: Client, name: str, *, timeout: float, tell: Tell, resume: bool = True) -> Iterator[None]:
    """The connector is STOPPED, without tasks, while the context lasts; then it is as it was."""
    before = client.status(name).connector.state.lower()
    if before != "stopped":
        tell(f"{name}: stopping")
        client.stop(name)
    wait_until(client, name, "stopped", timeout=timeout, stable=0.0)
    try:
        yield
    finally:
        if before != "stopped" and resume:
            tell(f"{name}: {'resuming' if before != 'paused' else 'pausing again'}")
            set_state(client, name, "paused" if before == "paused" else "running")


def change_offsets(
    client: Client,
    name: str,
    offsets: Sequence[Offset] | None,
    *,
    timeout: float,
    tell: Tell,
    resume: bool,
    force: bool,
) -> tuple[tuple[Offset, ...], tuple[Offset, ...]]:
    """Stop, set offsets (None: forget them all), go on; what there was, and what there is."""
    if offsets is not None and not force:
        check_offsets(client.config(name), client.offsets(name), offsets)
    with stopped(client, name, timeout=timeout, tell=tell, resume=resume):
        before = client.offsets(name)  # now nothing moves them any more
        if offsets is None:
            client.reset_offsets(name)
        else:
            client.alter_offsets(name, offsets)
        after = client.offsets(name)
    if offsets is not None and not all(_stands(one, after) for one in offsets):
        raise ConnectorNotReady(
            f"{name}: Connect took the offsets, and does not have them", hint=f"cdc connectors offsets show {name}"
        )
    return before, after


def _stands(wanted: Offset, offsets: Sequence[Offset]) -> bool:
    found = next((one.offset for one in offsets if one.partition == wanted.partition), None)
    return found == wanted.offset


def check_offsets(config: Mapping[str, str | None], old: Sequence[Offset], new: Sequence[Offset]) -> None:
    """Refuse what Debezium would take with a 200 and then fail on, or silently never read."""
    if not (config.get("connector.class") or "").startswith(_DEBEZIUM):
        return
    partition = {"server": config.get("topic.prefix")}
    with_gtids = any(one.offset and one.offset.get("gtids") for one in old)
    for one in new:
        wrong = _wrong(one, partition, with_gtids=with_gtids)
        if wrong:
            raise ConfigError(f"these offsets are not Debezium's: {wrong}", hint="--force sets them all the same")


def _wrong(one: Offset, partition: Mapping[str, Any], *, with_gtids: bool) -> str:
    if one.partition != partition:
        return f"the partition must be {dict(partition)}, or they are stored and never read"
    if one.offset is None:
        return ""
    if not isinstance(one.offset.get("file"), str):
        return "file is missing"
    if not isinstance(one.offset.get("pos"), int):
        return "pos must be a number"
    if with_gtids and not one.offset.get("gtids"):
        return "gtids is missing, and the server has them"
    return ""
