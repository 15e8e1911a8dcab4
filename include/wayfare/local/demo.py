"""What `make run` shows: 30 simulated days, landed, analyzed by the real scheduler, and read back as BI would."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from rich.table import Table

from wayfare import landing, marts, simulator
from wayfare.analyses import registry
from wayfare.errors import ServiceError
from wayfare.local.home import logs
from wayfare.marts import staleness
from wayfare.staging.database import transaction

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from wayfare.local.stack import Stack
    from wayfare.settings import Settings

DAYS = 30
CUSTOMERS = 2_000
SEED = 7
_ROWS_SHOWN = 3
_COLUMNS_SHOWN = 8


def land_and_wait(settings: Settings, console: Console, *, timeout: float = 1_200.0) -> None:
    """Simulate and land the demo, then wait until the scheduler has published every analysis.

    Events that an earlier run landed are duplicates and change nothing. Where there are other events, no demo is landed
    among them.

    Raises
    ------
    ServiceError
        Some analysis is still stale after `timeout` seconds.
    """
    folder = settings.home / "demo"
    if folder.exists() or not _has_events(settings):
        _land(settings, folder, console)
    else:
        console.print("This database already holds other events, so the demo is not landed")
    deadline = time.monotonic() + timeout
    shown: dict[str, int] = {}
    while time.monotonic() < deadline:
        stale = {str(row["analysis"]): int(str(row["stale_days"])) for row in marts.status(settings)}
        for name, days in stale.items():
            if shown.get(name) != days:
                console.print(f"  {name}: {f'{days} days to go' if days else 'published'}")
        shown = stale
        if not any(stale.values()):
            return
        time.sleep(2)
    behind = ", ".join(name for name, days in shown.items() if days)
    raise ServiceError(f"still stale after {timeout:.0f} s: {behind}; look at their runs in the Airflow UI")


def _has_events(settings: Settings) -> bool:
    with transaction(settings.url("pipeline")) as connection:
        return staleness.latest_batch(connection) > 0


def _land(settings: Settings, folder: Path, console: Console) -> None:
    if not folder.exists():
        console.print(f"Simulating {DAYS} days of {CUSTOMERS:,} customers")
        partial = folder.with_name("demo.partial")
        shutil.rmtree(partial, ignore_errors=True)
        simulator.simulate(partial, days=DAYS, customers=CUSTOMERS, seed=SEED)
        partial.rename(folder)
    console.print("Landing them")
    landed = landing.land(settings, sorted(map(str, folder.iterdir())))
    console.print(f"  {landed.summary('lines read')}")


def show_marts(stack: Stack, console: Console) -> None:
    """Print a few rows of each mart, read through the BI role."""
    with psycopg.connect(stack.bi_url) as connection:
        for row in marts.status(stack.settings):
            view = registry.get(str(row["analysis"])).relation
            query = sql.SQL("SELECT * FROM bi.{} LIMIT {}").format(sql.Identifier(view), _ROWS_SHOWN)
            cursor = connection.execute(query)
            names = [d.name for d in cursor.description or ()]
            table = Table(title=f"bi.{view} ({len(names)} columns)", title_justify="left")
            for name in names[:_COLUMNS_SHOWN]:
                table.add_column(name, no_wrap=True)
            for values in cursor:
                table.add_row(*(str(v) for v in values[:_COLUMNS_SHOWN]))
            console.print(table)


def show_addresses(stack: Stack, console: Console) -> None:
    """Print where to look and how to log in."""
    for line in (
        f"Airflow UI     {stack.ui}  (user admin, password {stack.secrets.admin})",
        f"BI, read only  {stack.bi_url}",
        f"Logs           {logs(stack.settings.home)}",
    ):
        console.print(line, soft_wrap=True)
