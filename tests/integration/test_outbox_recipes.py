"""The recipes of schemas/README.md, run: the row and its event, or neither."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdc.outbox.table import ddl
from infra.stack import Places
from infra.stack.maven import Jars
from infra.stack.progress import Board
from infra.stack.tools import require
from tests.recipes import django_service, fastapi_service, plain_pymysql
from tests.servers import Database

RECIPES = Path(__file__).parents[1] / "recipes"
PAGE = Path(__file__).parents[2] / "schemas" / "README.md"
ORDERS = "CREATE TABLE orders (number INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(99), total INT) CHARSET utf8mb4"
DRIVERS = ("com.mysql:mysql-connector-j:9.7.0", "org.mariadb.jdbc:mariadb-java-client:3.5.10")


@pytest.fixture
def shop(server: Database, schema: str) -> str:
    server.run(ddl(server.kind), ORDERS, schema=schema)
    return schema


def _expect(server: Database, schema: str, customer: str, payload: dict[str, Any]) -> None:
    """One order and one event."""
    assert server.run("SELECT customer, total FROM orders", schema=schema) == ((customer, 7),)
    ((name, topic, key, value),) = server.run("SELECT event_name, topic, event_key, payload FROM outbox", schema=schema)
    assert (name, topic, key, json.loads(value)) == ("order.created", "orders", customer.encode(), payload)


def test_every_file_the_page_names_is_there() -> None:
    named = re.findall(r"\]\(\.\./(tests/recipes/[^)]+)\)", PAGE.read_text())
    assert len(named) == 5
    assert all((PAGE.parents[1] / name).exists() for name in named)


def test_plain_pymysql(server: Database, shop: str) -> None:
    connection = server.connect(database=shop)
    number = plain_pymysql.place_order(connection, "ann", 7)
    with pytest.raises(ValueError, match="costs something"):
        plain_pymysql.place_order(connection, "bob", -1)
    connection.close()
    _expect(server, shop, "ann", {"number": number, "total": 7})


async def test_fastapi(server: Database, shop: str) -> None:
    url = f"mysql+asyncmy://{server.user}:{server.password}@{server.host}:{server.port}/{shop}?charset=utf8mb4"
    app = fastapi_service.service(url)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        created = await client.post("/orders", json={"customer": "ann", "total": 7})
        refused = await client.post("/orders", json={"customer": "bob", "total": -1})
    await app.state.engine.dispose()
    assert (created.status_code, refused.status_code) == (201, 422)
    _expect(server, shop, "ann", {"number": created.json()["number"], "customer": "ann", "total": 7})


def test_django(server: Database, shop: str) -> None:
    import django
    from django.conf import settings
    from django.db import ConnectionHandler, connections

    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    options = {"USER": server.user, "PASSWORD": server.password, "HOST": server.host, "PORT": str(server.port)}
    database = {"ENGINE": "django.db.backends.mysql", "NAME": shop, **options}
    connections.settings["shop"] = ConnectionHandler({"default": database}).settings["default"]
    try:
        number = django_service.place_order("ann", 7, using="shop")
        with pytest.raises(ValueError, match="costs something"):
            django_service.place_order("bob", -1, using="shop")
    finally:
        connections["shop"].close()
        del connections["shop"]
    _expect(server, shop, "ann", {"number": number, "total": 7})


def test_an_alembic_migration(server: Database, schema: str, tmp_path: Path) -> None:
    """Autogenerate writes the migration, it makes the table of the DDL, and then sees no difference."""
    from alembic import command
    from alembic.config import Config

    for name in ("env.py", "script.py.mako"):
        (tmp_path / name).write_text((RECIPES / "alembic" / name).read_text())
    (tmp_path / "versions").mkdir()
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "sqlalchemy.url", f"mysql+pymysql://{server.user}:{server.password}@{server.host}:{server.port}/{schema}"
    )
    command.revision(config, "outbox", autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)  # raises where autogenerate would still change something
    server.run(ddl(server.kind, "other"), schema=schema)
    mine, others = (server.run(f"SHOW CREATE TABLE {name}", schema=schema)[0][1] for name in ("outbox", "other"))
    assert others.replace("`other`", "`outbox`") == mine
    command.downgrade(config, "base")
    assert server.run("SHOW TABLES LIKE 'outbox'", schema=schema) == ()


def test_java(server: Database, shop: str) -> None:
    jars = Jars("JDBC drivers", "jdbc", DRIVERS, Places.from_environment().cache)
    jars.fetch(Board(None))
    url = f"jdbc:{server.kind}://{server.host}:{server.port}/{shop}"
    command = [require("java"), "-cp", jars.classpath, str(RECIPES / "OutboxExample.java"), url, server.user, ""]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    _expect(server, shop, "künde-✓", {"total": 7})
    ((headers, event_id),) = server.run("SELECT headers, event_id FROM outbox", schema=shop)
    assert json.loads(headers) == {"source": "java"}
    assert event_id[6] >> 4 == 7  # the server's own UUIDv7
