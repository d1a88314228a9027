"""The root group of `cdc`, and how errors end a command; the registry is the package's `__init__`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc import __version__
from cdc.cli import _INTERRUPTED, GROUPS, SINGLE, available, load
from cdc.errors import CdcError

if TYPE_CHECKING:
    import click
    from click import Group
else:
    try:
        import rich_click as click
        from rich_click import RichGroup as Group
    except ImportError:  # plain click does the same without colours
        import click
        from click import Group


class _Lazy(Group):
    """Stands for a group until one of its commands is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._real().list_commands(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command | None = self._real().get_command(ctx, cmd_name)
        return command

    def _real(self) -> Any:
        return load(str(self.name))


class _LazyCommand(click.Command):
    """Stands for a command that is no group until it is asked for."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        command: click.Command = load(str(self.name))
        return command.make_context(*arguments, **more)


class _Root(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return available()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in available():
            return None
        if cmd_name in SINGLE:
            return _LazyCommand(cmd_name, help=GROUPS[cmd_name])
        return _Lazy(cmd_name, help=GROUPS[cmd_name])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CdcError as error:
            click.echo(f"error: {error}", err=True)
            if error.hint:
                click.echo(f"hint:  {error.hint}", err=True)
            return ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            return ctx.exit(_INTERRUPTED)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cdc")
def root() -> None:
    """Transactional outbox for MySQL and MariaDB: committed events arrive in Kafka exactly once."""
