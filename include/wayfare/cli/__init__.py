"""The `wayfare` command.

Belongs here: arguments, output and exit statuses. Does not: work; every command calls the package that does it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback

import typer

from wayfare.errors import WayfareError


def printable(text: str) -> str:
    """One line for a terminal: characters that cannot be printed are written as JSON escapes.

    Names of files and values of events are anybody's, and may hold ends of lines and what moves a terminal's cursor.
    """
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def main() -> None:
    """Run the command; a fault of ours is a sentence on standard error and exit status 2, never a traceback.

    What nobody expected ends with its traceback, and with 2 as well: 1 is an answer of some commands.

    The process ends without the interpreter's teardown: once Great Expectations is imported beside it, DuckDB's
    binding would list there, on standard error, every type that is still alive.
    """
    from wayfare.cli import doctor, importing, landing, local, run, scaffold, schema, serving, simulate, status

    app = typer.Typer(
        name="wayfare",
        help="Behavior analytics for travel agencies: events in, published answers out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for part in (landing, importing, serving, schema, simulate, run, status, scaffold, local, doctor):
        app.registered_commands += part.app.registered_commands
    app.add_typer(serving.producer_app)
    code = 0
    try:
        app()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # of which the interpreter would make exit status 1
        code = 2
        with contextlib.suppress(OSError):  # standard error takes no more, either
            code = _ended(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # closed before we began, or full, which was reported
            stream.flush()
    os._exit(code)


def _ended(fault: Exception | SystemExit) -> int:
    """The exit status, once a sentence or the traceback of what nobody expected is on standard error."""
    if isinstance(fault, SystemExit):
        if not isinstance(fault.code, str):
            return fault.code or 0
        fault = WayfareError(fault.code)  # code that somebody wrote gave up, and says why
    if isinstance(fault, OSError) and fault.errno == errno.ENOSPC:
        fault = WayfareError(f"a disk is full, the output's or another: {fault}")
    if isinstance(fault, OSError) and fault.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        fault = WayfareError(
            f"{fault.filename}: {fault.strerror}; give this account the right to it, or set WAYFARE_HOME to a folder "
            "of its own"
        )
    if isinstance(fault, WayfareError):
        message = "\n".join([f"wayfare: {fault}", *getattr(fault, "__notes__", [])])
        typer.secho("\n".join(map(printable, message.split("\n"))), err=True, fg=typer.colors.RED)
    else:
        traceback.print_exception(fault)
    return 2
