"""The `wayfare` command.

Belongs here: arguments, output and exit statuses. Does not: work; every command calls the room that does it.
"""

from __future__ import annotations

import sys

import typer

from wayfare.errors import WayfareError


def main() -> None:
    """Run the command; a fault of ours is a sentence on standard error and exit status 2, never a traceback."""
    from wayfare.cli import importing, landing, local, run, scaffold, simulate, status

    app = typer.Typer(
        name="wayfare",
        help="Behavior analytics for travel agencies: events in, published answers out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for part in (landing, importing, simulate, run, status, scaffold, local):
        app.registered_commands += part.app.registered_commands
    try:
        app()
    except WayfareError as error:
        typer.secho(f"wayfare: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)
