"""The simulation itself: one day after another, delivered as files."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import pyarrow.parquet as pq

from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ConfigurationError
from wayfare.simulator.aftermath import follow
from wayfare.simulator.bots import crawl
from wayfare.simulator.broken import as_objects
from wayfare.simulator.buying import buy
from wayfare.simulator.looking import look
from wayfare.simulator.mail import Mail, Noise
from wayfare.simulator.people import make_people, visits
from wayfare.simulator.stock import Stock, snapshot
from wayfare.simulator.today import Counters, Today
from wayfare.simulator.world import HORIZON, Rates, make_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

FIRST_DAY = dt.date(2025, 3, 1)
_EPOCH = dt.date(1970, 1, 1)


def simulate(
    folder: Path,
    *,
    days: int,
    customers: int,
    seed: int,
    start: dt.date = FIRST_DAY,
    form: Literal["parquet", "jsonl"] = "parquet",
    late_share: float = 0.02,
    duplicate_share: float = 0.01,
    broken_share: float = 0.001,
    bots: int = 2,
    on_day: Callable[[], None] | None = None,
) -> dict[str, int]:
    """Write an agency's events to `folder`: `<day of delivery>-<event type>.parquet` (or `.jsonl`), and the broken
    ones to `<day of delivery>-broken.jsonl`. The same arguments write the same bytes; others give events, bookings and
    searches other ids, but customers the same.

    Parameters
    ----------
    folder
        Created where it is missing; files of the same names are written over.
    days, start
        Simulated days and the first of them; everything is delivered within them.
    customers
        Known customers; visits, capacities and the breadth of the world follow from it.
    late_share, duplicate_share, broken_share
        Shares of all events that arrive one to six days late, arrive twice, or come broken in addition.
    bots
        How many bots there are.
    on_day
        Called after each day.

    Returns
    -------
    dict
        Events by type, without repetitions; then `late`, `duplicate` and `broken`, and `bot_searches`.

    Raises
    ------
    ConfigurationError
        An argument is out of range.
    """  # noqa: D205 - the file names belong to the first sentence
    if days < 1 or customers < 1 or bots < 0:
        raise ConfigurationError("a simulation needs at least one day and one customer, and bots cannot be negative")
    if any(not 0 <= share <= 1 for share in (late_share, duplicate_share, broken_share)):
        raise ConfigurationError("a share must be between 0 and 1")
    if (dt.date.max - start).days < days + HORIZON + 60:
        raise ConfigurationError("a simulation and what it sells must end before the year 10000")
    folder.mkdir(parents=True, exist_ok=True)
    given = (days, customers, seed, start, *map(float, (late_share, duplicate_share, broken_share)), bots)
    mark = hashlib.sha256(repr(given).encode()).digest()[:16]
    rng = np.random.default_rng([seed, days, customers, (start - FIRST_DAY).days % 2**32])
    first = (start - _EPOCH).days
    world = make_world(rng, customers)
    people = make_people(rng, world, customers)
    stock, counters, rates = Stock(world, first, days), Counters(), Rates()
    mail = Mail(rng, first + days - 1, Noise(late_share, duplicate_share, broken_share), mark)
    bot_searches = 0
    for day in range(first, first + days):
        left = first + days - 1 - day
        progress = 1 - left / max(days - 1, 1)
        today = Today(mark.hex()[:6], day, progress, left, rates.on(day), rng, world, stock, mail, counters)
        stock.begin(day)
        snapshot(today)
        arrived = visits(today, people)
        looked = look(today, arrived)
        counters.visit += len(arrived)
        follow(today, buy(today, arrived, looked))
        bot_searches += crawl(today, bots)
        _write(mail, day, folder, form)
        if on_day:
            on_day()
    return {name: mail.counts[name] for name in (*EVENT_TYPES, "late", "duplicate", "broken")} | {
        "bot_searches": bot_searches
    }


def _write(mail: Mail, day: int, folder: Path, form: str) -> None:
    date = _EPOCH + dt.timedelta(days=day)
    broken: list[bytes] = []
    for event_type, table, lines in mail.deliver(day):
        broken += lines
        path = folder / f"{date}-{event_type}.{form}"
        if form == "parquet":
            _write_parquet(table, path)
        else:
            path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in as_objects(table)))
    if broken:
        (folder / f"{date}-broken.jsonl").write_bytes(b"".join(line + b"\n" for line in broken))


def _write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=1, store_schema=False)
