"""`wayfare up` and `wayfare down`: the installation on this machine."""

from __future__ import annotations

import contextlib
import signal
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Simulate and land 30 days, and wait for the marts.")] = False,
    exit_: Annotated[bool, typer.Option("--exit", help="Stop again once that is done.")] = False,
) -> None:
    """Start PostgreSQL and Airflow, keep them running, and stop them on Ctrl-C."""
    from wayfare.cli.consoles import wide
    from wayfare.local import demo as demonstration
    from wayfare.local import stack
    from wayfare.settings import get_settings

    for stopping in (signal.SIGINT, signal.SIGTERM):  # a shell's background job starts with SIGINT ignored
        signal.signal(stopping, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _stop)
    console = wide(highlight=False)

    def say(line: str) -> None:
        with contextlib.suppress(OSError, SystemExit):  # rich exits where nobody reads any more
            console.print(line)

    try:
        running = stack.start(get_settings(), say)
        try:
            if demo:
                demonstration.land_and_wait(running.settings, console)
                demonstration.show_marts(running, console)
            demonstration.show_addresses(running, console)
            if not exit_:
                say("Everything keeps running; Ctrl-C stops it.")
                signal.pause()
        finally:
            say("Stopping")
            running.stop()
    except KeyboardInterrupt:
        say("Stopped")


def _stop(_number: int, _frame: object) -> None:
    """Stop once: a second signal would leave half of it running."""
    for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopping, signal.SIG_IGN)
    raise KeyboardInterrupt


@app.command()
def migrate() -> None:
    """Create or extend schema, accounts and Airflow's metadata on a PostgreSQL of your own.

    WAYFARE_DATABASE_URL is the owner's; each account's password comes from the environment. The UI's users are written
    where AIRFLOW__CORE__AUTH_MANAGER is FAB's.
    """
    import os

    from wayfare.local import production
    from wayfare.settings import get_settings

    production.prepare(get_settings(), os.environ)
    typer.echo("Schema, accounts and Airflow's metadata are up to date")


@app.command()
def down() -> None:
    """Stop what `wayfare up` started on this machine."""
    from wayfare.local import stack
    from wayfare.settings import get_settings

    typer.echo("Stopped" if stack.stop_running(get_settings()) else "Nothing is running")
