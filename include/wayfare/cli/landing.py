"""`wayfare land`, `wayfare rejections`, `wayfare replay`: events in, and what became of lines that are not events."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wayfare.cli import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wayfare.landing import Landed
    from wayfare.settings import Settings

app = typer.Typer()


class Format(StrEnum):
    """How events are written."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


_Reason = Annotated[str | None, typer.Option(help="Only this reason code, as `wayfare rejections` shows it.")]
_Source = Annotated[str | None, typer.Option(help="Only this source: its path, or the end of it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no closing line.")]


@app.command()
def land(
    files: Annotated[list[str], typer.Argument(help="Files of events, plain, .gz or .zst; - is standard input.")],
    format: Annotated[  # noqa: A002  # the option's name
        Format | None, typer.Option(help="Their format; default: by suffix, JSON Lines for standard input.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Land events from JSON Lines, CSV (header = field names) or Parquet; landing the same input again changes nothing.

    Exit status: 0 all lines are staged, 1 some were rejected or conflict, 2 a fault stopped the landing.
    """
    from wayfare import landing
    from wayfare.settings import get_settings

    with progress_bar(files, shown=not (quiet or as_json)) as progress:
        landed = landing.land(get_settings(), files, format=format.value if format else None, progress=progress)
    conclude(landed, "lines read", as_json=as_json, quiet=quiet)


@app.command()
def replay(reason: _Reason = None, source: _Source = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Land the lines of open rejections again, after fixing a mapping, a contract, a clock or the reference data."""
    from wayfare import landing
    from wayfare.settings import get_settings

    settings = get_settings()
    landed = landing.replay(settings, reason=reason, source=source)
    conclude(landed, "lines read", as_json=as_json, quiet=quiet)
    asked: dict[str, Any] = {"reason": reason, "source": source}
    if not (quiet or landed.read or landing.counted(settings, **asked)):
        typer.echo(_why_none(settings, asked), err=True)


@app.command()
def rejections(  # noqa: PLR0917  # typer's options, all given by name
    reason: _Reason = None,
    source: _Source = None,
    event_type: Annotated[str | None, typer.Option(help="Only this event type.")] = None,
    since: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only landed since (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 100,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object per line; raw is the line itself, or raw_base64 where that is not UTF-8."
        ),
    ] = False,
) -> None:
    """List the lines that landing refused and no replay has resolved: where, why, and what to do."""
    from wayfare import landing
    from wayfare.settings import get_settings

    settings = get_settings()
    since = since.replace(tzinfo=dt.UTC) if since else None
    asked: dict[str, Any] = {"reason": reason, "source": source, "event_type": event_type, "since": since}
    listed = landing.rejections(settings, **asked, limit=limit, raw=as_json)
    for row in listed:
        if as_json:
            typer.echo(json.dumps(_as_json(row)))
        else:
            typer.echo(printable(f"{row['source']}:{row['line']}: [{row['reason']}] {row['message']}"))
    if not listed:
        typer.echo(_why_none(settings, asked), err=as_json)
    elif len(listed) == limit and (every := sum(landing.counted(settings, **asked).values())) > limit:
        typer.echo(f"and {every - limit:,} more, refused earlier; --limit {every} lists all", err=True)


def _why_none(settings: Settings, asked: dict[str, Any]) -> str:
    """Why no open rejections are as `asked`; where no open one has such a reason or event type, names those there are.

    Any reason may come from a mapping, and any event type from an event, so neither is ever refused.
    """
    from wayfare import landing
    from wayfare.contracts import EVENT_TYPES
    from wayfare.errors import nearest

    if not landing.counted(settings):
        return "no open rejections"
    types = {contract.type for contract in EVENT_TYPES.values()}
    for name, declared in (("reason", set[str]()), ("event_type", types)):
        known = declared | landing.counted(settings, by=name).keys() - {""}
        if (value := asked.get(name)) is not None and value not in known:
            return printable(f"no open rejection has the {name.replace('_', ' ')} {value!r}{nearest(value, known)}")
    return "no open rejections match"


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    raw = row.pop("raw")
    try:
        line = {"raw": raw.decode()}
    except UnicodeDecodeError:
        line = {"raw_base64": base64.b64encode(raw).decode()}
    return {**row, **line, "raw_digest": str(row["raw_digest"]), "landed_at": row["landed_at"].isoformat()}


@contextlib.contextmanager
def progress_bar(files: list[str], *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes read, on a terminal only."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    paths = [Path(f) for f in files if f != "-"]
    total = sum(p.stat().st_size for p in paths if p.is_file()) if len(paths) == len(files) else None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("landing", total=total)
        yield lambda size: bar.advance(task, size)


def conclude(landed: Landed, read: str, *, as_json: bool, quiet: bool) -> None:
    """Print the closing line (`read` names what was counted) or its JSON; exit status 1 where something was refused."""
    if as_json:
        typer.echo(json.dumps(asdict(landed)))
    elif not quiet:
        typer.echo(landed.summary(read))
        if landed.conflicts or landed.rejected:
            typer.echo("see them with `wayfare rejections`; land them after a fix with `wayfare replay`")
    if landed.conflicts or landed.rejected:
        raise typer.Exit(1)
