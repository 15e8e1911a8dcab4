"""`wayfare import`: somebody else's rows in, by a mapping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from wayfare.cli import printable
from wayfare.cli.landing import Json, Quiet, conclude, progress_bar

if TYPE_CHECKING:
    from wayfare.landing.mapping.preview import Preview

app = typer.Typer()


@app.command(name="import")
def import_(
    files: Annotated[list[str], typer.Argument(help="CSV, JSON Lines or Parquet, plain, .gz or .zst; - is CSV.")],
    mapping: Annotated[str, typer.Option(help="TOML file, or the name of a mapping that ships with Wayfare.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first events and what would be refused; land nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn rows into events as a mapping says, and land them; importing the same file again changes nothing.

    Exit status: 0 all events are staged, 1 some rows or events were rejected or conflict, 2 a fault stopped the import.
    """
    from wayfare.landing.mapping.files import import_files
    from wayfare.landing.mapping.preview import preview
    from wayfare.settings import get_settings

    with progress_bar(files, shown=not (quiet or as_json)) as progress:
        if dry_run:
            shown = preview(get_settings(), mapping, files, progress=progress)
        else:
            landed = import_files(get_settings(), mapping, files, progress=progress)
    if dry_run:
        _show(shown, as_json=as_json)
    else:
        conclude(landed, "events and unmapped rows", as_json=as_json, quiet=quiet)


def _show(shown: Preview, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(shown)))
    else:
        for event in shown.first:
            for line in json.dumps(event, indent=2, ensure_ascii=False).split("\n"):
                typer.echo(printable(line))
        counts = ", ".join(f"{count:,} {name}" for name, count in shown.events.items())
        typer.echo(f"would land {counts or 'nothing'}")
        for problem in shown.problems:
            place = printable(f"{problem.source}:{problem.line}")
            typer.echo(f"would refuse {problem.count:,} [{problem.reason}], the first at {place}")
            for message in problem.examples:
                typer.echo(f"  {printable(message)}")
        if shown.repeated:
            typer.echo(f"{shown.repeated:,} events have the id of another event; make their `key` unique")
    if shown.problems or shown.repeated:
        raise typer.Exit(1)
