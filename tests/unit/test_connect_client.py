"""The client of Kafka Connect against the fake: what is tried again and what is not, who we are to it, what is hidden."""

import json
import ssl
import threading
from pathlib import Path

import pytest

from cdc.connect import Address, Client
from cdc.connect.answers import Offset
from cdc.connect.testing import FakeConnect
from cdc.connect.verdict import NotNow, judge
from cdc.errors import (
    ConfigError,
    ConnectAccessDenied,
    ConnectorExists,
    ConnectorInvalid,
    ConnectorMissing,
    ConnectRefused,
    ConnectUnavailable,
)
from tests.certificates import certificates

SOURCE = {
    "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
    "tasks.max": "1",
    "file": "in.txt",
    "topic": "lines",
}
MARKER = "hush-marker-4711"
REBALANCE = (
    "Cannot complete request momentarily due to stale configuration (typically caused by a concurrent config change)"
)
FORWARD = "IO Error trying to forward REST request: java.net.ConnectException: Connection refused"
RECORDED = Path(__file__).parents[1] / "vectors" / "connect" / "connect-rest.json"


def content_of(body):
    """A recorded body as bytes."""
    return b"" if body is None else (body["text"] if set(body) == {"text"} else json.dumps(body)).encode()


@pytest.fixture
def fake():
    return FakeConnect()


@pytest.fixture
def client(fake):
    with Client(Address(("http://connect",), patience=10), answering=fake.answer) as client:
        yield client


def test_the_life_of_a_connector(client, fake):
    assert client.server().version == "4.1.2"
    assert client.health().healthy
    assert client.create("lines", SOURCE, initial_state="STOPPED").name == "lines"
    assert client.names() == ("lines",)
    assert client.status("lines").connector.state == "STOPPED"
    assert client.alter_offsets("lines", [Offset(partition={"filename": "in.txt"}, offset={"position": 4})])
    assert client.offsets("lines")[0].offset == {"position": 4}
    client.resume("lines")
    assert client.status("lines").tasks[0].state == "RUNNING"
    client.pause("lines")
    assert client.task_status("lines", 0).state == "PAUSED"
    assert client.put_config("lines", {**SOURCE, "batch.size": "7"}).config["batch.size"] == "7"
    assert "batch.size" not in client.patch_config("lines", {"batch.size": None}).config
    assert client.config("lines") == {**SOURCE, "name": "lines"}
    assert client.connector("lines").type == "source"
    client.resume("lines")
    fake.fail_task("lines", 0, "java.io.IOException: disk full")
    assert [part.trace for part in client.status("lines").failed] == ["java.io.IOException: disk full"]
    told = client.restart("lines", include_tasks=True, only_failed=True)
    assert told is not None
    assert told.tasks[0].state == "RESTARTING"
    assert client.restart("lines") is None
    client.restart_task("lines", 0)
    assert client.tasks("lines")[0].config["topic"] == "lines"
    fake.used_topics("lines", "lines")
    assert client.topics("lines") == ("lines",)
    client.reset_topics("lines")
    assert client.topics("lines") == ()
    listed = client.connectors()["lines"]
    assert listed.status is not None
    assert listed.info is not None
    client.stop("lines")
    assert client.reset_offsets("lines")
    assert client.delete("lines")
    assert not client.delete("lines")
    assert client.plugins()
    assert len(client.plugins(connectors_only=False)) > len(client.plugins())
    assert client.definitions("MySqlConnector")[0].name == "topic.prefix"
    assert client.validate({**SOURCE, "name": "x", "batch.size": "many"}).errors.keys() == {"batch.size"}
    assert client.loggers().keys() == {"root"}
    assert client.set_logger("io.debezium", "warn") == ("io.debezium",)
    assert client.set_logger("io.debezium", "info", cluster=True) == ()
    assert client.logger("io.debezium").level == "INFO"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.status("nope"), ConnectorMissing, "nope"),
        (lambda c: c.create("bad", {**SOURCE, "tasks.max": "zero"}), ConnectorInvalid, "tasks.max"),
        (lambda c: c.create("bad", {"connector.class": "no.such"}), ConnectorInvalid, "no.such"),
        (lambda c: c.create("a/b", SOURCE), ConnectRefused, "slash"),
        (lambda c: c.status(""), ConnectRefused, "without a name"),
        (lambda c: c.definitions("no.such"), ConnectorMissing, "no.such"),
        (lambda c: c.set_logger("root", "LOUD"), ConnectRefused, "LOUD"),
    ],
)
def test_refusals_are_named_and_have_a_hint(client, fake, call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(client)
    assert caught.value.hint
    assert len(fake.requests) <= 1  # nothing of it is tried twice


def test_a_taken_name_is_not_a_rebalance(client, fake):
    client.create("lines", SOURCE)
    with pytest.raises(ConnectorExists):
        client.create("lines", SOURCE)
    assert len(fake.requests) == 2


@pytest.mark.parametrize(("status", "message"), [(409, REBALANCE), (500, FORWARD), (404, None)])
@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.names(),
        lambda c: c.create("lines", SOURCE),
        lambda c: c.put_config("lines", SOURCE),
        lambda c: c.delete("lines"),
    ],
)
def test_a_passing_trouble_is_ridden_out(client, fake, status, message, call):
    fake.answer_next(status, message, times=2)
    call(client)
    assert len(fake.requests) == 3


def test_patience_ends(fake):
    fake.answer_next(409, REBALANCE, times=1000)
    with (
        Client(Address(("http://connect",), patience=0.5), answering=fake.answer) as client,
        pytest.raises(ConnectUnavailable, match="stale configuration") as caught,
    ):
        client.put_config("lines", SOURCE)
    assert caught.value.retryable


def test_creating_is_never_done_twice(client, fake):
    # The worker made it and then could not say so: looked up, not sent again.
    sent = []

    def losing(method, target, headers, body):
        answer = fake.answer(method, target, headers, body)
        if method == "POST" and not sent:
            sent.append(target)
            return 504, {}, b""
        return answer

    with Client(Address(("http://connect",), patience=10), answering=losing) as careful:
        assert careful.create("lines", SOURCE).name == "lines"
    assert [method for method, _, _ in fake.requests] == ["POST", "GET"]


def test_the_recorded_troubles_of_a_real_cluster_are_worth_another_try():
    recorded = {one["name"]: one for one in json.loads(RECORDED.read_text())["exchanges"]}
    for name in (
        "health of a worker while it starts (404)",
        "error while a worker joins or leaves (404)",
        "error after the leader was killed (500)",
        "error after the leader was killed (409)",
        "broker frozen: put",
    ):
        answer = recorded[name]["response"]
        with pytest.raises(NotNow):
            judge(answer["status"], content_of(answer["body"]), name, again=True)


def test_every_other_recorded_error_is_final():
    passing = {"health of a worker while it starts (404)", "error while a worker joins or leaves (404)"}
    passing |= {"error after the leader was killed (500)", "error after the leader was killed (409)"}
    seen = 0
    for one in json.loads(RECORDED.read_text())["exchanges"]:
        answer = one["response"]
        if answer["status"] < 400 or one["name"] in passing or one["name"].startswith("broker frozen"):
            continue
        with pytest.raises((ConnectRefused, ConnectAccessDenied)) as caught:
            judge(answer["status"], content_of(answer["body"]), one["name"], again=True)
        assert not isinstance(caught.value, NotNow)
        assert caught.value.hint
        seen += 1
    assert seen > 40


def test_several_urls_are_one_cluster(fake):
    with fake.serving() as url, fake.serving() as other:
        address = Address(("http://127.0.0.1:9", url, other), patience=20)
        with Client(address) as client:
            client.create("lines", SOURCE)
            assert client.names() == ("lines",)
    with Client(Address(("http://127.0.0.1:9", url), patience=0.3)) as client:
        with pytest.raises(ConnectUnavailable, match="takes a connection") as caught:
            client.names()
        assert "127.0.0.1:9" in str(caught.value)
        assert url in str(caught.value)


def test_a_worker_that_dies_between_two_requests(fake):
    with fake.serving() as second:
        with fake.serving() as first, Client(Address((first, second), patience=20)) as client:
            assert client.names() == ()
            served = client
        # the first is gone, its connection still in the pool
        with Client(Address((first, second), patience=20)) as client:
            client.put_config("lines", SOURCE)
            assert client.names() == ("lines",)
        assert served.urls == (first, second)


def test_credentials(fake):
    for address, good in [
        ({"username": "cdc", "password": MARKER}, True),
        ({"username": "cdc", "password": "wrong"}, False),
        ({}, False),
        ({"bearer_token": MARKER}, True),
        ({"bearer_token": "wrong"}, False),
        ({"headers": {"Authorization": f"Bearer {MARKER}"}}, True),
    ]:
        guarded = FakeConnect(basic_auth=("cdc", MARKER), bearer_token=MARKER)
        known = Address(("http://connect",), **address)
        assert MARKER not in repr(known)
        with Client(known, answering=guarded.answer) as client:
            if good:
                assert client.names() == ()
                continue
            with pytest.raises(ConnectAccessDenied) as caught:
                client.names()
            assert "CDC_CONNECT_PASSWORD" in caught.value.hint


def test_credentials_in_the_url_are_used_and_never_shown():
    guarded = FakeConnect(basic_auth=("cdc", MARKER))
    with guarded.serving() as url, Client(Address((url.replace("//", f"//cdc:{MARKER}@"),))) as client:
        assert client.names() == ()
        assert client.urls == (url,)
        with pytest.raises(ConnectorMissing) as caught:
            client.status("nope")
    assert MARKER not in str(caught.value) + caught.value.hint


def test_extra_headers_are_sent():
    seen = {}

    def look(method, target, headers, body):
        seen.update({name.lower(): value for name, value in headers.items()})
        return FakeConnect().answer(method, target, headers, body)

    with Client(Address(("http://connect",), headers={"X-Tenant": "shop"}), answering=look) as client:
        client.names()
    assert seen["x-tenant"] == "shop"


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    certificates(folder)
    return folder


def test_tls_with_a_ca_of_ones_own_and_a_client_certificate(fake, pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / "server.pem")
    context.load_verify_locations(pem / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with fake.serving(context) as url:
        ca, mine = str(pem / "ca.pem"), str(pem / "client.pem")
        with Client(Address((url,), ca=ca, cert=mine, patience=5)) as client:
            assert client.names() == ()
        with Client(Address((url,), verify=False, cert=mine, patience=5)) as client:
            assert client.names() == ()
        with Client(Address((url,), cert=mine)) as client, pytest.raises(ConnectAccessDenied, match="not trusted"):
            client.names()
        with Client(Address((url,), ca=ca, patience=5)) as client:
            with pytest.raises(ConnectAccessDenied, match="TLS") as caught:
                client.names()
            assert "--cert" in caught.value.hint
    with (
        fake.serving() as plain,
        Client(Address((plain.replace("http:", "https:"),))) as client,
        pytest.raises(ConfigError, match="does not speak TLS"),
    ):
        client.names()


@pytest.mark.parametrize(
    "address",
    [
        {"urls": ()},
        {"urls": ("connect:8083",)},
        {"urls": ("ftp://connect",)},
        {"urls": (f"http://cdc:{MARKER}@connect:80x3",)},
        {"urls": ("http://connect?x=1",)},
        {"urls": ("https://connect",), "ca": "/no/such.pem"},
        {"urls": ("https://connect",), "cert": "/no/such.pem"},
    ],
)
def test_an_address_that_cannot_be_one(address):
    with pytest.raises(ConfigError) as caught:
        Client(Address(**address)).names()
    assert caught.value.hint
    assert MARKER not in str(caught.value)


def test_what_is_not_connect_is_said_so():
    with (
        Client(Address(("http://connect",)), answering=lambda *_: (200, {}, b"<html>hello</html>")) as client,
        pytest.raises(ConnectRefused, match="not Kafka Connect's"),
    ):
        client.names()
    with Client(Address(("http://c",), patience=0.3), answering=lambda *_: (404, {}, b"<html>")) as client:
        with pytest.raises(ConnectUnavailable):
            client.names()
        assert client.health().status == "starting"


def test_a_worker_that_quotes_a_secret_does_not_make_us_quote_it(client, fake):
    config = {**SOURCE, "database.password": MARKER, "connection.url": f"jdbc:mysql://x/?password={MARKER}2&a=b"}
    fake.answer_next(400, f"Connector configuration is invalid: {MARKER} and {MARKER}2", times=3)
    for call in (client.create, client.put_config):
        with pytest.raises(ConnectorInvalid) as caught:
            call("lines", config)
        assert MARKER not in str(caught.value) + repr(caught.value)
    with pytest.raises(ConnectorInvalid):
        client.patch_config("lines", config)
    assert MARKER not in repr(client.create("lines", config))


def test_the_fake_serves_many_at_once(fake):
    with fake.serving() as url:

        def work(name):
            with Client(Address((url,))) as client:
                client.create(name, SOURCE)

        threads = [threading.Thread(target=work, args=(f"c{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Client(Address((url,))) as client:
            assert len(client.names()) == 8
