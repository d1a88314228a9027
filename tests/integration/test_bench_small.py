"""`make bench` in small: every row is there. What the figures are is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.targets import ROWS

REPOSITORY = Path(__file__).parents[2]
PARTS = "rows,latency"
"""The shorter ones; the others share all but their own loop with them."""


def test_a_small_bench_has_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    small = ["--rows", "200", "--events", "200", "--rounds", "1", "--seconds", "0.2", "--only", PARTS, "--out", out]
    command = [sys.executable, "tests/bench", *map(str, small)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, cwd=REPOSITORY)
    assert done.returncode in (0, 1), done.stderr  # 1: a target is missed, as with so few events it must be
    found = json.loads(out.read_text())
    rows = {row["what"] for row in found["targets"]}
    assert rows == {row.what for row in ROWS if row.what.startswith(("routing", "murmur2", "p50", "p99"))}
    for row in found["targets"]:
        assert row["what"] in done.stdout
        assert row["verdict"] in ("ok", "miss", "")
    assert found["contestants"]["cdc tailer"]["20 events/s"]["latency_ms_p99"] > 0
    assert found["ratios"]["ordinary_latency_p50"] > 0
