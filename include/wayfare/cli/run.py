"""`wayfare run`: an analysis without Airflow, through the same steps."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def run(
    analysis: Annotated[str, typer.Argument(help="Name of the analysis, as `wayfare status` lists it.")],
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First output day; default: all.")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last output day; default: all.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Redo days that are fresh, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per chunk.")] = False,
) -> None:
    """Bring an analysis up to date: plan its stale days, then extract, validate, analyze, audit and publish them."""
    from wayfare import engines, marts, quality, snapshots
    from wayfare.settings import get_settings

    settings = get_settings()
    chunks = marts.plan(
        settings, analysis, first=first.date() if first else None, last=last.date() if last else None, force=force
    )
    for chunk in chunks:
        snapshots.extract(settings, chunk)
        verdict = quality.validate(settings, chunk)
        engines.analyze(settings, chunk)
        quality.audit(settings, chunk)
        published = marts.publish(settings, chunk, run_id="cli")
        if as_json:
            typer.echo(json.dumps({"chunk": chunk.to_json(), "validated": verdict, "published": published}))
        else:
            typer.echo(
                f"{analysis}: {len(chunk.days)} days from {chunk.days[0]} to {chunk.days[-1]}, "
                f"{published['rows']} rows through batch {chunk.through_batch}"
            )
    if not chunks and not as_json:
        typer.echo(f"{analysis}: every day is fresh")
