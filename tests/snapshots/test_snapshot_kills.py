"""A first start with rows there, writers at work, and a kill: each committed row once."""

from tests.snapshots.load import run


def test_each_row_once(server, kafka, tmp_path):
    verdict = run(server, kafka, tmp_path, rows=50_000, kills=1, rate=100, seed=7, pause=3)
    assert verdict.is_clean, str(verdict)
    assert verdict.from_table > 40_000
    assert verdict.gone > 0
