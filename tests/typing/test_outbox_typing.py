"""mypy --strict reads the sample as a user's project would: every wrong call is an error, and only those."""

import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).with_name("outbox_sample.py")


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
