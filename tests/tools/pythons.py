"""`make pythons`: the write library's tests on every Python from 3.11 to 3.14 that this machine has.

Looked for on the path and under ~/.pyenv; each gets a venv in the cache. Names those it did not find: they are
not tested, and not a failure. A test that fails is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("CDC_CACHE") or REPOSITORY / ".cache")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
NEEDS = ("pytest>=8.3", "pytest-asyncio", "pytest-timeout", "hypothesis", "protobuf", "confluent-kafka", "PyMySQL")
TESTS = ("tests/unit/outbox", "tests/properties/test_outbox_values.py")


def find(version: str) -> str | None:
    """An interpreter that starts and is of that version."""
    under_pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    for candidate in (shutil.which(f"python{version}"), *map(str, sorted(under_pyenv, reverse=True))):
        if candidate is None:
            continue
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def test(version: str, interpreter: str) -> bool:
    """Make the venv where it is not there yet, and run the tests in it."""
    folder = CACHE / "venvs" / f"python-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, "-e", ".[cli,otel,sqlalchemy]", *NEEDS], check=True, cwd=REPOSITORY)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    return subprocess.run(command, check=False, cwd=REPOSITORY).returncode == 0


def main() -> int:
    """All of them."""
    failed, missing = [], []
    for version in VERSIONS:
        interpreter = find(version)
        if interpreter is None:
            missing.append(version)
            continue
        print(f"=== Python {version}: {interpreter}", flush=True)
        if not test(version, interpreter):
            failed.append(version)
    if missing:
        print(f"not found on this machine, so not tested: Python {', '.join(missing)}")
    if failed:
        print(f"failed on Python {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
