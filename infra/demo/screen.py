"""All that the demo prints: scenes, facts, a table of records, progress that always moves.

On a terminal progress is a live bar; elsewhere (CI, a file) it is a line every two seconds, so that a log shows that
the demo is alive. Facts and tables look the same in both.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_LINE_EVERY = 2.0
_WIDTH_OF_A_FILE = 160
_NEXT_TO_VALUES = 60
"""What the other columns of a table of records need."""


def shorten(text: str, length: int) -> str:
    """Cut a text, and say so."""
    return text if len(text) <= length else text[: length - 1] + "…"


class Screen:
    """Where the audience looks."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_WIDTH_OF_A_FILE)
        self._began = time.monotonic()

    @property
    def room(self) -> int:
        """How much of a record's value fits into a table."""
        return max(20, self._console.width - _NEXT_TO_VALUES)

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._console.print(f"\n[bold cyan]{escape(title)}[/]  [dim]{time.monotonic() - self._began:.0f} s[/]")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print("  " + escape(text), soft_wrap=True)

    def fact(self, text: str) -> None:
        """Print what was found to be as promised."""
        self._console.print("  [bold green]✓[/] " + escape(text), soft_wrap=True)

    def command(self, command: str, why: str) -> None:
        """Print a command to try; whole, so that it can be copied."""
        self._console.print(f"  [dim]# {escape(why)}[/]\n  [bold]{escape(command)}[/]", soft_wrap=True)

    def failure(self, text: str, hint: str) -> None:
        """Print why the demo ends early."""
        self._console.print(f"\n[bold red]The demo failed:[/] {escape(text)}", soft_wrap=True)
        if hint:
            self._console.print(f"  {escape(hint)}", soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; only its last column gives way where the terminal is narrow."""
        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_lines=False)
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """Show how far something is: call what this yields with the amount done and a word on it."""
        if self._console.is_terminal:
            columns = (
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[word]}"),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=self._console, transient=True) as bar:
                task = bar.add_task(what, total=total, word="")
                yield lambda done, word: bar.update(task, completed=done, word=word)
            return
        last = time.monotonic()

        def line(done: int, word: str) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY:
                last = time.monotonic()
                self.say(f"... {what}: {done:,} of {total:,} {word}".rstrip())

        yield line

    @contextmanager
    def waiting(self, what: str) -> Iterator[Callable[[], None]]:
        """Show that something without a measure goes on: call what this yields now and then."""
        began = last = time.monotonic()
        if self._console.is_terminal:
            with Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            ) as bar:
                bar.add_task(what, total=None)
                yield lambda: None
            return

        def line() -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY:
                last = time.monotonic()
                self.say(f"... {what}: {last - began:.0f} s")

        yield line
