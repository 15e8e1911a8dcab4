"""`wayfare doctor`: whether the installation is sound."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

app = typer.Typer()

_COLORS = {"ok": typer.colors.GREEN, "info": typer.colors.BLUE, "failed": typer.colors.RED}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, one object per finding.")] = False,
) -> None:
    """Check database, roles, storage, engine, Airflow, versions and clock; say what to fix.

    Exit status 1 if anything is wrong.
    """
    from wayfare import doctor as examining
    from wayfare.settings import get_settings

    findings = []
    for finding in examining.examine(get_settings()):
        findings.append(finding)
        if not as_json:
            mark = typer.style(f"{finding.status:7}", fg=_COLORS[finding.status])
            typer.echo(f"{mark}{finding.check:22}{finding.found}")
            if finding.fix:
                typer.echo(f"{'':29}-> {finding.fix}")
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)
