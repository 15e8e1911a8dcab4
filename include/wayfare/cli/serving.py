"""`wayfare land-queue`: the ways in that stay open until they are told to stop."""

from __future__ import annotations

import json
import logging
import signal
import threading
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer()


@app.command(name="land-queue")
def land_queue(
    name: Annotated[str | None, typer.Option("--queue", help="Queue; default: WAYFARE_QUEUE_NAME.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the closing counts as JSON for a program.")] = False,
) -> None:
    """Land events from the queue of WAYFARE_QUEUE_URL until SIGTERM or Ctrl-C, which finish the batch at hand."""
    from wayfare.landing.queue import land_queue as land
    from wayfare.settings import get_settings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    landed = land(get_settings(), stop, name=name)
    if as_json:
        typer.echo(json.dumps(asdict(landed)))
    else:
        typer.echo(
            f"{landed.read:,} events received: {landed.landed:,} landed, {landed.duplicates:,} duplicates, "
            f"{landed.conflicts:,} conflicts, {landed.rejected:,} rejected"
        )
