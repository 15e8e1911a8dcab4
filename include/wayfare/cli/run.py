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
    from wayfare.pipeline import bring_up_to_date
    from wayfare.settings import get_settings

    days = {"first": first.date() if first else None, "last": last.date() if last else None}
    fresh = True
    for summary in bring_up_to_date(get_settings(), analysis, **days, force=force):
        fresh = False
        if as_json:
            typer.echo(json.dumps(summary, default=str))
        else:
            ranges = ", ".join(f"{start} to {stop}" for start, stop in summary["chunk"]["days"])
            typer.echo(f"{analysis}: {ranges}: {summary['publish']['rows']:,} rows published")
    if fresh and not as_json:
        typer.echo(f"{analysis}: every day is fresh")
