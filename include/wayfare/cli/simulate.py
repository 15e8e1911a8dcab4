"""`wayfare simulate`: an agency that never was, as files to land."""

from __future__ import annotations

import datetime as dt
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Format(StrEnum):
    """How events are written."""

    parquet = "parquet"
    jsonl = "jsonl"


@app.command()
def simulate(
    *,
    days: Annotated[int, typer.Option(min=1, help="Days to simulate.")] = 30,
    customers: Annotated[int, typer.Option(min=1, help="Known customers; traffic and capacities follow.")] = 2_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and arguments write the same bytes.")] = 1,
    start: Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = dt.datetime(2025, 3, 1),  # noqa: DTZ001 - a day as typer parses one
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("simulated"),
    format: Annotated[Format, typer.Option(help="How events are written.")] = Format.parquet,  # noqa: A002 - the option's name
    late_share: Annotated[float, typer.Option(min=0, max=1, help="Share delivered one to six days late.")] = 0.02,
    duplicate_share: Annotated[float, typer.Option(min=0, max=1, help="Share delivered twice.")] = 0.01,
    broken_share: Annotated[float, typer.Option(min=0, max=1, help="Broken events in addition, as a share.")] = 0.001,
    bots: Annotated[int, typer.Option(min=0, help="Number of bots.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Write a believable agency's events, one file per day of delivery and event type, for `wayfare land OUT/*`."""
    from rich.console import Console
    from rich.progress import Progress

    from wayfare import simulator

    shown = not as_json and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task("simulating", total=days)
        counts = simulator.simulate(
            out,
            days=days,
            customers=customers,
            seed=seed,
            start=start.date(),
            form=format.value,
            late_share=late_share,
            duplicate_share=duplicate_share,
            broken_share=broken_share,
            bots=bots,
            on_day=lambda: bar.advance(task),
        )
    if as_json:
        typer.echo(json.dumps(counts))
        return
    for name, count in counts.items():
        typer.echo(f"{count:>12,} {name.replace('_', ' ')}")
    typer.echo(f"land them with: wayfare land {out}/*")
