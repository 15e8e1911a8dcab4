"""`wayfare import`: somebody else's rows in, by a mapping."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command(name="import")
def import_(
    files: Annotated[list[str], typer.Argument(help="CSV with a header, plain, .gz or .zst; - is standard input.")],
    mapping: Annotated[str, typer.Option(help="TOML file, or a shipped mapping: hotel_bookings.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no closing line.")] = False,
) -> None:
    """Turn rows of CSV into events as a mapping says, and land them; importing the same again changes nothing.

    Exit status: 0 all events are staged, 1 some rows or events were rejected or conflict, 2 a fault stopped the import.
    """
    from wayfare.cli.landing import close, progress_bar
    from wayfare.landing.mapping_files import import_files
    from wayfare.settings import get_settings

    with progress_bar(files, shown=not (quiet or as_json)) as progress:
        landed = import_files(get_settings(), mapping, files, progress=progress)
    close(landed, "events and unmapped rows", as_json=as_json, quiet=quiet)
