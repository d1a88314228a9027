"""mypy --strict and pyright read the sample as a user's project would: every wrong call is an error, and only those."""

import json
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).with_name("outbox_sample.py")


def test_pyright_takes_every_right_call() -> None:
    """No error but on the lines that expect one."""
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, str(SAMPLE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=SAMPLE.parent)
    found = json.loads(done.stdout)["generalDiagnostics"]
    wrong = {one["range"]["start"]["line"] for one in found if one["severity"] == "error"}
    assert not {n for n, line in enumerate(SAMPLE.read_text().splitlines()) if "type: ignore" not in line} & wrong, (
        found
    )


def test_mypy_is_content_with_the_sample(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--warn-unused-ignores",
        "--cache-dir",
        str(tmp_path),
        str(SAMPLE),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=SAMPLE.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
