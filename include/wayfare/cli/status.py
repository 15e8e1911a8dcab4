"""`wayfare status`: how fresh every mart is."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

app = typer.Typer()


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, one object per analysis.")] = False,
) -> None:
    """Show for each analysis how many days are stale, through which batch it is fresh, and its last audit.

    Analyses that are left out are named on standard error.
    """
    from wayfare import marts
    from wayfare.analyses.registry import broken
    from wayfare.settings import get_settings

    found = marts.status(get_settings())
    if as_json:
        typer.echo(json.dumps(found, default=str))
    else:
        _print(found)
    if left_out := broken():
        typer.echo(f"left out: {', '.join(left_out)} (`wayfare check` says why)", err=True)


def _print(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from wayfare.cli.consoles import wide

    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for heading in ("analysis", "rows", "last day", "fresh through batch", "stale days", "published (UTC)", "audit"):
        justify: Literal["left", "right"] = "right" if heading in {"rows", "stale days"} else "left"
        table.add_column(heading, justify=justify, no_wrap=heading in {"analysis", "rows", "last day"})
    for row in found:
        table.add_row(
            str(row["analysis"]),
            f"{row['rows']:,}",
            str(row["last_on"] or "-"),
            f"{row['fresh_through']} of {row['latest_batch']}",
            f"{row['stale_days']:,}",
            f"{row['published_at']:%Y-%m-%d %H:%M}" if row["published_at"] else "-",
            str(row["audit"] or "-"),
        )
    wide().print(table)
