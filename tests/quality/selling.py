"""A small analysis, events for it, and what the gates leave."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import narwhals as nw
from sqlalchemy import text

from snapshots.staged_events import Event, event, stage
from wayfare import engines, snapshots
from wayfare.analyses.api import BehaviorAnalysis, Expect, Inputs, Mart, Window, count, key, minor
from wayfare.analyses.chunk import Chunk
from wayfare.contracts.events import BOOKING, CANCELLATION
from wayfare.staging.database import engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wayfare.settings import Settings

DAY = dt.date(2026, 6, 1)
DEAR = Expect("ExpectColumnValuesToBeBetween", {"column": "price", "max_value": 1000})
DEAR_RULE = "ExpectColumnValuesToBeBetween(column=price, max_value=1000)"


class Sold(BehaviorAnalysis):
    """How many were sold?"""

    reads = (BOOKING, CANCELLATION)
    window = Window(after=1)
    mart = Mart(
        day="sold_on",
        grain={"sold_on": key("The day.", "date"), "product": key("The product.")},
        columns={"items": count("Items sold."), "price_minor": minor("What was paid.")},
    )
    expect_input: ClassVar = {"booking": (DEAR,)}

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        sold = given["booking"].with_columns(sold_on="event_on")
        return sold.group_by("sold_on", "product").agg(items=nw.len(), price_minor=nw.col("price").sum())

    def totals(self, given: Inputs) -> nw.LazyFrame[Any]:
        sold = given["booking"].join(given.days, left_on="event_on", right_on="output_on", how="semi")
        return sold.select(items=nw.len(), price_minor=nw.col("price").sum())


def bookings(prices: Iterable[int], day: dt.date = DAY, **fields: Any) -> list[Event]:
    at = dt.datetime.combine(day, dt.time(9), dt.UTC)
    return [event("booking", at, booking_id=f"B{n}", price=price, **fields) for n, price in enumerate(prices)]


def chunk_of(*days: dt.date, through: int = 1) -> Chunk:
    return Chunk("sold", days or (DAY,), through, "0123456789")


def staged(settings: Settings, events: Sequence[Event], chunk: Chunk | None = None) -> Chunk:
    """Stage the events as batch 1 and extract them."""
    stage(settings, 1, events)
    chunk = chunk or chunk_of()
    snapshots.extract(settings, chunk)
    return chunk


def rows(settings: Settings, query: str) -> list[Any]:
    with engine(settings.url("owner")).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def broken(settings: Settings) -> list[tuple[str, str, str]]:
    """Verdicts against the data: gate, severity, message."""
    query = "SELECT gate, severity, message FROM control.validation WHERE NOT success ORDER BY validation_id"
    return rows(settings, query)


def rewrite(url: str, query: str) -> None:
    """Replace a Parquet file on disk by a query over it, as `file`."""
    table = duckdb.sql(query.replace("file", f"'{url}'")).to_arrow_table()
    duckdb.from_arrow(table).write_parquet(url)


def result(settings: Settings, chunk: Chunk) -> list[Any]:
    with engines.session(settings) as connection:
        return connection.read_parquet(chunk.result(settings.storage)).order("ALL").fetchall()
