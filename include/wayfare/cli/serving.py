"""`wayfare land-queue`, `wayfare collect`, `wayfare producer`: the ways in that stay open until they are stopped."""

from __future__ import annotations

import json
import logging
import signal
import threading
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer()
producer_app = typer.Typer(name="producer", help="Who may send events over HTTP.", no_args_is_help=True)


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
    typer.echo(json.dumps(asdict(landed)) if as_json else landed.summary("events received"))


@app.command()
def collect(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8090,
) -> None:
    """Take events over HTTP until SIGTERM or Ctrl-C; where WAYFARE_QUEUE_URL is set they go to the queue."""
    from wayfare.collector.server import serve
    from wayfare.settings import get_settings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    serve(get_settings(), host, port)


@producer_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What its events carry as `source`.")],
    types: Annotated[str, typer.Option(help="Event types that it may send, like search,view.")],
    rate: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="Events a second that it may send.")] = 10_000,
) -> None:
    """Add a producer and print its token, once: only a digest of it is kept."""
    from wayfare.collector import producers
    from wayfare.settings import get_settings

    typer.echo(producers.add(get_settings(), name, [t.strip() for t in types.split(",") if t.strip()], rate))


@producer_app.command(name="list")
def list_() -> None:
    """List producers: name, events a second, event types, and whether it is revoked."""
    from wayfare.collector import producers
    from wayfare.settings import get_settings

    for known in producers.listed(get_settings()):
        state = f"  revoked {known.revoked_at:%Y-%m-%d %H:%M} UTC" if known.revoked_at else ""
        typer.echo(f"{known.name}  {known.events_per_second:,}/s  {', '.join(sorted(known.event_types))}{state}")


@producer_app.command()
def revoke(name: Annotated[str, typer.Argument(help="The producer.")]) -> None:
    """Refuse a producer's token from now on (collectors notice within seconds)."""
    from wayfare.collector import producers
    from wayfare.settings import get_settings

    producers.revoke(get_settings(), name)
