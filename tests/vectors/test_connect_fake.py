"""The fake Connect answers what a real one (4.1.2) answered, request by request, state carried over.

Not compared: the texts that depend on the installation (lists of plug-ins and options, which are shorter in the fake),
and the recordings in which a worker starts, a leader dies or a broker is frozen; ``tests/unit/test_connect_client.py``
plays those to the client.
"""

import json
from pathlib import Path
from urllib.parse import urlencode

from cdc.connect.testing import FakeConnect

_TEXT = (Path(__file__).parent / "connect" / "connect-rest.json").read_text().replace("{{mysql_port}}", "3306")
RECORDED = json.loads(_TEXT)["exchanges"]

# The fake has not got that state: a second worker, a dead leader, a frozen broker, time that goes by.
ELSEWHERE = {
    "health of a worker while it starts (404)",
    "error while a worker joins or leaves (404)",
    "list with status, two workers",
    "error after the leader was killed (500)",
    "error after the leader was killed (409)",
    "broker frozen: status",
    "broker frozen: health",
    "broker frozen: put",
    "broker frozen: offsets",
}
# Lists of what is installed, and of tasks that were just being restarted: status only.
STATUS_ONLY = {
    "create, broken JSON",
    "create, unknown field",
    "create, wrong initial_state",
    "create, unknown class",
    "plugins, all kinds",
    "plugin config",
    "plugin config by short name",
    "plugin config, version",
    "plugin config of a transform",
    "plugin config of a converter",
    "validate, unknown plugin",
    "validate, Debezium cannot connect",  # the fake connects to nothing
    "create, Debezium with missing fields",
    "loggers",
    "set logger",
    "logger after set",
    "options",
    "root",
    "name with slash in a path, percent-encoded",
    "restart, only failed, without tasks",  # tasks restarted a moment before
    "restart, with tasks",
    "restart, only failed, nothing failed",
    "list",
    "topics after reset",  # the task goes on and uses its topic again
    "list, one with a slash left",  # others were deleted between
    "create, name with blank and plus",  # not the body that was sent
    "debezium: tasks",  # its own settings for its task
}


def _target(request):
    query = request["query"]
    path = request["path"]
    return path if not query else f"{path}?{query if isinstance(query, str) else urlencode(query)}"


def _same(name, got, wanted):
    if name.startswith("validate,") and "configs" in wanted:
        # recorded: the options with errors, and a few of the others
        wrong = [
            {v["name"]: v["errors"] for v in (c["value"] for c in body["configs"]) if v["errors"]}
            for body in (got, wanted)
        ]
        return wrong[0].keys() == wrong[1].keys() if "Debezium" in name else wrong[0] == wrong[1]
    return _plain(got) == _plain(wanted)


def _plain(body):
    """Where the worker is differs, and so do traces and what the fake is not told: topics, the tasks' own settings."""
    text = json.dumps(body, sort_keys=True).replace("{{connect}}", "connect:8083")
    found = json.loads(text)
    return _without_traces(found)


def _without_traces(body):
    if isinstance(body, dict):
        return {key: _without_traces(value) for key, value in body.items() if key not in ("trace", "topics")}
    if isinstance(body, list):
        return sorted((_without_traces(one) for one in body), key=lambda one: json.dumps(one, sort_keys=True))
    return body


def _prepare(fake, name):
    """What happened on the real one between two requests."""
    if name == "offsets while running":
        fake.set_offset("lines", {"filename": "in.txt"}, {"position": 8})
    if name == "status with a failed task":
        fake.fail_task(
            "fails", 0, "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler"
        )
    if name == "debezium: offsets while running, after rows":
        fake.set_offset("orders-outbox", {"server": "shop"}, WANTED["offset"])
    if name == "debezium: status failed":
        fake.fail_task("orders-outbox", 0, "org.apache.kafka.common.KafkaException: Cannot perform send")


WANTED = next(
    one["response"]["body"]["offsets"][0]
    for one in RECORDED
    if one["name"] == "debezium: offsets while running, after rows"
)


def test_it_answers_as_the_real_one_did():
    fake = FakeConnect()
    wrong = []
    for exchange in RECORDED:
        name, request, response = exchange["name"], exchange["request"], exchange["response"]
        if name in ELSEWHERE:
            continue
        _prepare(fake, name)
        body = request["body"]
        content = b""
        if body is not None:
            content = (body["text"] if isinstance(body, dict) and set(body) == {"text"} else json.dumps(body)).encode()
        status, headers, text = fake.answer(request["method"], _target(request), request["headers"], content)
        got = json.loads(text) if text else None
        if status != response["status"]:
            wrong.append((name, status, response["status"], got))
        elif name not in STATUS_ONLY and not _same(name, got, response["body"]):
            wrong.append((name, got, response["body"]))
        location = response["headers"].get("Location", "").replace("{{connect}}", "connect:8083")
        if location and "%" not in location:
            assert headers.get("Location") == location, (name, status, got)
    assert not wrong, "\n".join(map(str, wrong))


def test_most_of_the_recording_is_compared_in_full():
    names = [one["name"] for one in RECORDED]
    assert set(names) >= STATUS_ONLY
    assert len(set(names) - ELSEWHERE - STATUS_ONLY) > 100
