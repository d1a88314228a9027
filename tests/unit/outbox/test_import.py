"""Importing the write library costs next to nothing and pulls in no third-party package."""

import json
import subprocess
import sys

LIMIT = 0.15


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_needs_no_third_party_package() -> None:
    loaded = json.loads(
        _python(
            "import sys, json\n"
            "before = set(sys.modules)\n"
            "import cdc.outbox\n"
            "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
            "print(json.dumps(sorted(name for name in new if name not in sys.stdlib_module_names)))"
        )
    )
    assert loaded == ["cdc"]


def test_writing_through_a_driver_needs_only_the_id_source() -> None:
    loaded = json.loads(
        _python(
            "import sys, json\n"
            "before = set(sys.modules)\n"
            "from cdc.outbox import Event, Outbox\n"
            "class Cursor:\n"
            "    def execute(self, *_): pass\n"
            "Outbox().add(Cursor(), Event('n', 't', {'a': 1}))\n"
            "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
            "print(json.dumps(sorted(name for name in new if name not in sys.stdlib_module_names)))"
        )
    )
    assert set(loaded) <= {"cdc", "uuid_utils", "orjson"}


def test_import_is_quick() -> None:
    code = "import time; start = time.perf_counter(); import cdc.outbox; print(time.perf_counter() - start)"
    assert min(float(_python(code)) for _ in range(3)) < LIMIT * 10  # the exact figure is the bench's business


def test_the_root_help_imports_no_group() -> None:
    code = (
        "import sys\n"
        "from cdc.cli import main\n"
        "sys.argv = ['cdc', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('cdc.')))"
    )
    loaded = set(_python(code).splitlines()[-1].split())
    assert loaded == {"cdc.cli", "cdc.cli.root", "cdc.errors"}
