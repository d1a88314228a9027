"""A secret that is told anywhere fails the run, though every test passes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
import logging, subprocess, sys
import click
from click.testing import CliRunner
from cdc.errors import CdcError
MARKER = "hush-marker-planted"
"""
LEAKS = {
    "print": "print(MARKER)",
    "log": "logging.getLogger('cdc').warning('with %s', MARKER)",
    "command": "CliRunner().invoke(click.Command('x', callback=lambda: click.echo(MARKER)), [])",
    "process": "subprocess.run([sys.executable, '-c', 'print(\"hush-marker-planted\")'], capture_output=True)",
    "error": "str(CdcError(f'refused: {MARKER}'))",
    "hint": "str(CdcError('refused', hint=MARKER))",
    "file": "(tmp_path / 'tailer-000.log').write_text(MARKER)",
}
CLEAN = {"kept": "(tmp_path / 'cdc.yaml').write_text(MARKER); print('********')"}


def run(folder: Path, bodies: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a run with these tests."""
    test = folder / "test_planted.py"
    test.write_text(HEAD + "".join(f"def test_{name}(tmp_path):\n    {body}\n" for name, body in bodies.items()))
    options = ["-p", "tests.hushed", "-p", "no:cacheprovider", "--rootdir", folder, "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *map(str, options), f"--basetemp={folder / 'base'}", str(test)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout:  # read past communicate(), which is looked at
        output = process.stdout.read().decode()
    shutil.rmtree(folder / "base")  # or this run would find it, too
    return process.wait(), output


def test_every_planted_leak_fails_the_run(tmp_path):
    code, output = run(tmp_path, LEAKS)
    assert f"{len(LEAKS)} passed" in output
    assert code == pytest.ExitCode.TESTS_FAILED
    told = output[output.index("secrets that were told") :]
    for name in LEAKS.keys() - {"file"}:
        assert f"test_{name})" in told
    assert "tailer-000.log" in told


def test_a_run_without_a_leak_passes(tmp_path):
    code, output = run(tmp_path, CLEAN)
    assert code == pytest.ExitCode.OK
    assert "no secret of the tests is in" in output
