"""`wayfare new-analysis` and `wayfare check`: writing an analysis and checking all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def new_analysis(
    name: Annotated[str, typer.Argument(help="Name in snake_case: what it answers, not how, like repeat_bookers.")],
    root: Annotated[Path, typer.Option(help="Project folder to write into.")] = Path(),
) -> None:
    """Write a new analysis and its test; both pass as they are."""
    from wayfare.analyses.scaffold import write

    for file in write(name, root):
        typer.echo(f"wrote {file}")


@app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Problems as a JSON list.")] = False) -> None:
    """Check what every analysis declares; exit status 1 where something is wrong."""
    from wayfare import quality
    from wayfare.analyses.registry import analyses, broken
    from wayfare.errors import DeclarationError

    found = [f"{where}: {why}" for where, why in broken().items()]
    for analysis in analyses().values():
        try:
            quality.check(analysis)
        except DeclarationError as error:
            found.append(str(error))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo("\n".join(found) or f"{len(analyses())} analyses, no problems")
    raise typer.Exit(1 if found else 0)
