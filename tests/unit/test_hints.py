"""What a message tells people to type exists: every `cdc ...` command with its options, in every text of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cdc.cli import SINGLE, load
from cdc.cli.root import root

CDC = Path(__file__).parents[2] / "cdc"
COMMAND = re.compile(r"\bcdc ([a-z][a-z-]*)((?: [^\s.,;:`()<]+)*)")
OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)")
PROSE = {"where"}
"""Words that follow `cdc` in a sentence; none of them is a group of commands."""


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """All texts that are no docstrings, what is filled in as `X`."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in docs or id(node) in inside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield node.lineno, "".join(map(str, parts))


def named() -> Iterator[tuple[str, str, str]]:
    """Place, group, and what follows it in the text."""
    for path in sorted(CDC.rglob("*.py")):
        for line, text in texts(ast.parse(path.read_text())):
            if text.lstrip().startswith("<"):
                continue  # the status page
            for found in COMMAND.finditer(" ".join(text.split())):
                yield f"{path.relative_to(CDC.parent)}:{line}", found[1], found[2]


def wrong(group: str, rest: str) -> str | None:
    """Why this cannot be typed."""
    context = click.Context(root)
    if group not in root.list_commands(context):
        return None if group in PROSE else f"there is no `cdc {group}`"
    words = rest.split()
    commands = root.get_command(context, group)
    if group in SINGLE:
        return missing_options(load(group), group, rest)
    assert isinstance(commands, click.Group)
    if not words or words[0].startswith("X"):
        return None  # the group as such, or what only a run can tell
    command = commands.get_command(context, words[0])
    if command is None:
        return f"there is no `cdc {group} {words[0]}`"
    return missing_options(command, f"{group} {words[0]}", rest)


def missing_options(command: click.Command, name: str, rest: str) -> str | None:
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    missing = set(OPTION.findall(rest)) - known - {"--help"}
    return f"`cdc {name}` has no {', '.join(sorted(missing))}" if missing else None


def test_every_command_that_a_text_names_exists():
    found = list(named())
    assert len(found) > 20, "the texts were not found"
    mistakes = [f"{where}: {why}" for where, group, rest in found if (why := wrong(group, rest))]
    assert mistakes == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cdc checkpoint set -c FILE --source shop --to latest", None),
        ("cdc checkpoint reset", "there is no `cdc checkpoint reset`"),
        ("cdc checkpiont show", "there is no `cdc checkpiont`"),
        ("cdc checkpoint show --sourc x", "`cdc checkpoint show` has no --sourc"),
    ],
)
def test_the_judge(text: str, why: str | None):
    match = COMMAND.search(text)
    assert match is not None
    assert wrong(match[1], match[2]) == why
