"""`cdc connectors` as people call it, against the fake over HTTP; no marker secret is ever printed."""

import json
import os

import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.connect.testing import FakeConnect

MARKER = "hush-marker-4711"
LINES = {
    "name": "lines",
    "config": {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": "1",
        "file": "in.txt",
        "topic": "lines",
    },
}
SHOP = {
    "name": "shop",
    "state": "paused",
    "config": {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "tasks.max": "1",
        "database.hostname": "db",
        "database.user": "cdc",
        "database.password": MARKER,
        "database.server.id": "77001",
        "topic.prefix": "shop",
        "producer.override.sasl.jaas.config": f'required password="{MARKER}-jaas";',
    },
}


class Cluster:
    """The fake, a folder of manifests, and the command."""

    def __init__(self, fake, url, folder):
        self.fake = fake
        self.url = url
        self.folder = folder
        self.printed = []

    def write(self, *manifests):
        for old in self.folder.glob("*.yaml"):
            old.unlink()
        for number, one in enumerate(manifests):
            (self.folder / f"{number}-{one['name']}.yaml").write_text(yaml.safe_dump(one))

    def __call__(self, *arguments, stdin=None):
        words = list(map(str, arguments))
        # after the subcommand; a group of its own has two words
        at = 2 if words[0] in ("offsets", "loggers", "plugins") else 1
        words[at:at] = ["--url", self.url, "-d", str(self.folder)]
        result = CliRunner().invoke(root, ["connectors", *words], input=stdin)
        self.printed.append(result.output)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def cdc(tmp_path, monkeypatch):
    for name in os.environ:
        if name.startswith("CDC_CONNECT"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("cdc.connect.readiness.STABLE", 0.1)
    fake = FakeConnect()
    with fake.serving() as url:
        cluster = Cluster(fake, url, tmp_path)
        yield cluster
    assert not any(MARKER in text for text in cluster.printed)


def edited(manifest, **config):
    changed = {key: value for key, value in {**manifest["config"], **config}.items() if value is not None}
    return {**manifest, "config": changed}


def test_from_nothing_to_running_and_nothing_to_do(cdc):
    cdc.write(LINES, SHOP)
    planned = cdc("plan", "--exit-code")
    assert planned.exit_code == 3
    assert "+ lines: create (not there -> running)" in planned.stdout
    assert "+ shop: create (not there -> paused)" in planned.stdout
    assert "database.password: ********" in planned.stdout
    applied = cdc("apply")
    assert applied.exit_code == 0, applied.output
    assert "done: lines, shop" in applied.stderr
    assert [one["name"] for one in json.loads(cdc("list", "-o", "json").stdout)] == ["lines", "shop"]
    assert "FileStreamSourceConnector" in cdc("list").stdout
    again = cdc("plan", "--exit-code")
    assert (again.exit_code, again.stdout) == (0, "no changes\n")
    asked = len(cdc.fake.requests)
    assert cdc("apply").exit_code == 0
    assert not [method for method, _, _ in cdc.fake.requests[asked:] if method in ("POST", "DELETE", "PATCH")]


def test_each_change_with_old_and_new_value(cdc):
    cdc.write(LINES, SHOP)
    cdc("apply")
    lines = edited(LINES, topic="other", file=None, **{"batch.size": "7"})
    shop = edited(SHOP, **{"database.password": f"{MARKER}-new"})
    cdc.write({**lines, "state": "stopped"}, {**shop, "state": "running"})
    planned = cdc("plan")
    assert planned.exit_code == 0
    assert "~ lines: update, state (running -> stopped)" in planned.stdout
    assert "+ batch.size: 7" in planned.stdout
    assert "- file: in.txt" in planned.stdout
    assert "~ topic: lines -> other" in planned.stdout
    assert "~ database.password: ******** -> ******** (another value)" in planned.stdout
    data = json.loads(cdc("plan", "-o", "json").stdout)
    assert data["changes"] == 2
    assert data["connectors"][0]["state"] == {"old": "running", "new": "stopped"}
    assert yaml.safe_load(cdc("plan", "-o", "yaml").stdout) == data
    assert cdc("apply").exit_code == 0
    assert cdc.fake.answer("GET", "/connectors/lines/status", {}, b"")[2].count(b"STOPPED") == 1
    assert cdc("plan", "--exit-code").exit_code == 0


def test_drift_by_a_foreign_hand_is_shown_and_repaired(cdc):
    cdc.write(LINES)
    cdc("apply")
    cdc.fake.answer(
        "PATCH", "/connectors/lines/config", {"content-type": "application/json"}, b'{"topic": "elsewhere"}'
    )
    cdc.fake.answer("PUT", "/connectors/lines/pause", {}, b"")
    planned = cdc("plan", "--exit-code")
    assert planned.exit_code == 3
    assert "~ topic: elsewhere -> lines" in planned.stdout
    assert "(paused -> running)" in planned.stdout
    assert cdc("apply").exit_code == 0
    assert cdc("plan", "--exit-code").exit_code == 0


def test_a_failed_task_is_planned_repaired_and_its_cause_named(cdc):
    cdc.write(LINES)
    cdc("apply")
    trace = f"org.apache.kafka.X: outer\n\tat a.b\nCaused by: java.io.IOException: disk full {MARKER}\n\tat c.d"
    cdc.write(edited(LINES, **{"api.key": MARKER}))
    cdc("apply")
    cdc.fake.fail_task("lines", 0, trace)
    planned = cdc("plan")
    assert "~ lines: restart" in planned.stdout
    assert "FAILED: java.io.IOException: disk full ********" in planned.stdout
    shown = json.loads(cdc("show", "lines", "-o", "json", "--trace").stdout)
    assert shown["tasks"][0]["cause"] == "java.io.IOException: disk full ********"
    assert "at c.d" in shown["tasks"][0]["trace"]
    assert "disk full" in cdc("show", "lines").stdout
    failed = cdc("wait", "lines")
    assert failed.exit_code == 1
    assert "lines failed: task 0: java.io.IOException: disk full ********" in failed.stderr
    assert "1 FAILED" in cdc("list").stdout
    assert cdc("apply").exit_code == 0
    cdc.fake.fail_task("lines", 0, trace)
    assert cdc("restart", "lines", "--only-failed", "--include-tasks").exit_code == 0
    assert cdc("plan", "--exit-code").exit_code == 0


def test_a_wrong_configuration_changes_nothing_and_names_every_field(cdc):
    wrong = {"database.server.id": "many", "poll.interval.mss": "5", "topic.prefix": None}
    cdc.write(LINES, edited(SHOP, **wrong))
    for command in ("plan", "apply"):
        result = cdc(command)
        assert result.exit_code == 1
        assert "shop: database.server.id: Invalid value many" in result.output
        assert (
            'shop: poll.interval.mss: no plug-in knows this option; did you mean "poll.interval.ms"?' in result.output
        )
        assert "shop: topic.prefix: Missing required" in result.output
    assert cdc.fake.answer("GET", "/connectors", {}, b"")[2] == b"[]"
    checked = cdc("validate", "-o", "json")
    assert checked.exit_code == 4
    assert json.loads(checked.stdout)["problems"]["shop"].keys() == {
        "database.server.id",
        "poll.interval.mss",
        "topic.prefix",
    }
    cdc.write(edited(LINES, **{"connector.class": "no.such.Connector"}))
    result = cdc("validate")
    assert result.exit_code == 4
    assert "lines: connector.class: " in result.stdout
    cdc.write(LINES)
    good = cdc("validate")
    assert (good.exit_code, good.stdout) == (0, "lines: ok\n")


def test_prune_asks_and_takes_only_what_no_manifest_knows(cdc):
    cdc.write(LINES, SHOP)
    cdc("apply")
    cdc.write(SHOP)
    assert "without a manifest (--prune deletes them): lines" in cdc("plan").stdout
    assert cdc("plan", "--exit-code").exit_code == 0
    assert "- lines: delete (running -> deleted)" in cdc("plan", "--prune").stdout
    refused = cdc("apply", "--prune")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert cdc("plan", "--prune", "--exit-code").exit_code == 3
    assert cdc("apply", "shop", "--prune").exit_code == 2
    unsaid = cdc("apply", "--prune", "--yes")
    assert unsaid.exit_code == 2
    assert "whose they are was not said" in unsaid.stderr
    foreign = cdc("apply", "--prune", "--yes", "--owns", "outbox-*", "--owns", "shop*")
    assert foreign.exit_code == 0
    assert "without a manifest, and not ours: lines" in foreign.stdout
    assert json.loads(cdc("plan", "--owns", "outbox-*", "-o", "json").stdout)["foreign"] == ["lines"]
    done = cdc("apply", "--prune", "--yes", "--owns", "li*")
    assert done.exit_code == 0, done.output
    assert json.loads(cdc("list", "-o", "json").stdout)[0]["name"] == "shop"
    assert cdc("plan", "--prune", "--exit-code").exit_code == 0


def test_an_export_plans_as_empty(cdc, tmp_path, monkeypatch):
    regex = edited(LINES, a="outbox.${routedByValue}", b="${KEPT}", c="${file:/x:y}")
    for one in (regex, SHOP):
        body = {"name": one["name"], "config": one["config"], "initial_state": one.get("state", "running").upper()}
        cdc.fake.answer("POST", "/connectors", {"content-type": "application/json"}, json.dumps(body).encode())
    out = tmp_path / "out"
    done = cdc("export", "--to", out)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["lines.yaml", "shop.yaml"]
    assert "shop: set SHOP_DATABASE_PASSWORD to the value of database.password" in done.stderr
    assert cdc("export", "--to", out).exit_code == 2
    monkeypatch.setenv("SHOP_DATABASE_PASSWORD", SHOP["config"]["database.password"])
    monkeypatch.setenv("SHOP_PRODUCER_OVERRIDE_SASL_JAAS_CONFIG", SHOP["config"]["producer.override.sasl.jaas.config"])
    cdc.folder = out
    again = cdc("plan", "--exit-code")
    assert (again.exit_code, again.stdout) == (0, "no changes\n")
    assert len(list(yaml.safe_load_all(cdc("export").stdout))) == 2
    assert cdc("export", "nope").exit_code == 2


def test_create_from_a_file_and_delete(cdc, tmp_path):
    file = tmp_path / "one.json"
    file.write_text(json.dumps(LINES))
    assert cdc("create", "-f", file).exit_code == 0
    twice = cdc("create", "-f", file)
    assert twice.exit_code == 1
    assert "already" in twice.stderr
    assert cdc("delete", "lines").exit_code == 2
    assert cdc("delete", "lines", "nope", "--yes").exit_code == 1
    assert cdc("delete", "lines", "--yes").exit_code == 0
    assert json.loads(cdc("list", "-o", "json").stdout) == []


def test_states_by_hand(cdc):
    cdc.write(LINES)
    cdc("apply")
    for verb, state in (("pause", "PAUSED"), ("stop", "STOPPED"), ("resume", "RUNNING"), ("restart", "RUNNING")):
        assert cdc(verb, "lines").exit_code == 0
        assert json.loads(cdc("show", "lines", "-o", "json").stdout)["state"] == state
    assert cdc("restart", "lines", "--task", "0").exit_code == 0
    assert cdc("restart", "lines", "--task", "7").exit_code == 1
    assert cdc("wait", "lines", "--for", "running").exit_code == 0
    late = cdc("wait", "lines", "--for", "stopped", "--timeout", "0.5")
    assert late.exit_code == 1
    assert "lines is not stopped after 0.5 s: RUNNING, tasks: 1 RUNNING" in late.stderr
    assert cdc("wait", "nope", "--for", "deleted").exit_code == 0
    missing = cdc("pause", "nope")
    assert missing.exit_code == 1
    assert "hint: " in missing.stderr


def test_offsets_stop_edit_and_resume_as_one(cdc, tmp_path):
    cdc.write({**SHOP, "state": "running"})
    cdc("apply")
    old = {"file": "binlog.000004", "pos": 157, "gtids": "u:1-5"}
    cdc.fake.set_offset("shop", {"server": "shop"}, old)
    shown = cdc("offsets", "show", "shop", "-o", "json").stdout
    assert "binlog.000004" in cdc("offsets", "show", "shop").stdout
    file = tmp_path / "offsets.json"
    file.write_text(shown.replace("157", "200"))
    assert cdc("offsets", "set", "shop", "--file", file).exit_code == 2  # nobody to ask
    done = cdc("offsets", "set", "shop", "--file", file, "--yes")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["before"][0]["offset"] == old
    assert told["after"][0]["offset"] == {**old, "pos": 200}
    assert json.loads(cdc("show", "shop", "-o", "json").stdout)["state"] == "RUNNING"
    one = ("--partition", '{"server": "shop"}', "--offset")
    for wrong in ('{"pos": 1}', '{"file": "x", "pos": "1"}', '{"file": "x", "pos": 1}'):
        refused = cdc("offsets", "set", "shop", *one, wrong, "--yes")
        assert refused.exit_code == 2, wrong
        assert "not Debezium's" in refused.stderr
    other = cdc("offsets", "set", "shop", "--partition", '{"server": "x"}', "--offset", json.dumps(old), "--yes")
    assert "never read" in other.stderr
    assert cdc("offsets", "set", "shop", *one, '{"pos": 1}', "--yes", "--force", "--no-resume").exit_code == 0
    assert json.loads(cdc("show", "shop", "-o", "json").stdout)["state"] == "STOPPED"
    assert json.loads(cdc("offsets", "reset", "shop", "--yes").stdout)["after"] == []
    for words in ((), ("--file", "-", *one, "{}"), ("--partition", "{", "--offset", "{}")):
        assert cdc("offsets", "set", "shop", *words, "--yes", stdin="{}").exit_code == 2


def test_loggers_and_plugins(cdc):
    assert cdc("loggers", "set", "io.debezium", "debug").exit_code == 0
    assert json.loads(cdc("loggers", "show", "io.debezium", "-o", "json").stdout) == [
        {"name": "io.debezium", "level": "DEBUG"}
    ]
    assert "root" in cdc("loggers", "show").stdout
    assert cdc("loggers", "set", "root", "LOUD").exit_code == 2
    assert "MySqlConnector" in cdc("plugins", "list").stdout
    assert len(json.loads(cdc("plugins", "list", "--all", "-o", "json").stdout)) > 4
    assert "database.hostname" in cdc("plugins", "show", "MySqlConnector").stdout
    assert cdc("plugins", "show", "no.such").exit_code == 1


def test_a_rebalance_is_waited_for_and_said_once(cdc):
    cdc.write(LINES)
    cdc.fake.answer_next(409, "Cannot complete request momentarily due to stale configuration", times=3)
    result = cdc("apply")
    assert result.exit_code == 0
    assert result.stderr.count("trying again") <= 2


def test_what_was_done_before_a_failure_is_said(cdc):
    second = {**LINES, "name": "second"}
    third = {**LINES, "name": "third"}
    cdc.write(LINES, second, third)
    cdc("apply", "lines")
    cdc.write(edited(LINES, topic="x"), second, third)
    cdc.fake.answer_next(403, "no", method="POST")
    result = cdc("apply")
    assert result.exit_code == 1
    assert "(done before: lines; not begun: third)" in result.stderr


def test_no_cluster_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CDC_CONNECT_URL", raising=False)
    result = CliRunner().invoke(root, ["connectors", "list", "-d", str(tmp_path)])
    assert result.exit_code == 2
    assert "CDC_CONNECT_URL" in result.stderr


def test_the_environment_says_where_and_with_what(tmp_path, monkeypatch):
    guarded = FakeConnect(basic_auth=("cdc", MARKER))
    with guarded.serving() as url:
        (tmp_path / "environments").mkdir()
        (tmp_path / "environments" / "test.yaml").write_text(
            f"connect: {{urls: ['{url}'], username: cdc}}\nvariables: {{TOPIC: lines}}\n"
        )
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(edited(LINES, topic="${TOPIC}")))
        call = ["connectors", "plan", "-d", str(tmp_path), "-e", "test"]
        denied = CliRunner().invoke(root, call)
        assert denied.exit_code == 1
        assert "401" in denied.stderr or "cannot access" in denied.stderr
        monkeypatch.setenv("CDC_CONNECT_PASSWORD", MARKER)
        good = CliRunner().invoke(root, call)
        assert good.exit_code == 0
        assert "+ topic: lines" in good.stdout
        assert MARKER not in denied.output + good.output


def test_the_shell_completes_live_names(cdc):
    cdc.write(LINES, SHOP)
    cdc("apply")
    complete = ShellComplete(root, {}, "cdc", "_CDC_COMPLETE")
    words = ["connectors", "pause", "--url", cdc.url]
    assert [one.value for one in complete.get_completions(words, "")] == ["lines", "shop"]
    assert [one.value for one in complete.get_completions(words, "s")] == ["shop"]
    assert complete.get_completions(["connectors", "pause", "--url", "http://127.0.0.1:9"], "") == []


def test_every_command_has_help():
    names = json.loads(json.dumps(sorted(root.get_command(None, "connectors").list_commands(None))))
    wanted = "apply create delete export list loggers offsets pause plan plugins restart resume show stop validate wait"
    assert names == wanted.split()
    for name in names:
        assert CliRunner().invoke(root, ["connectors", name, "--help"]).exit_code == 0
