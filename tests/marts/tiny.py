"""Small analyses, and what landing and the engine would have left for them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import text

from wayfare import storage
from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis, Mart, Window, count, key, measure, stock
from wayfare.contracts.events import BOOKING, INVENTORY, SEARCH
from wayfare.marts import schema
from wayfare.staging.database import engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pytest

    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

START = dt.date(2026, 3, 1)
_GRAIN = {"city": key("The city."), "search_on": key("The day of the search.", "date")}


def day(n: int) -> dt.date:
    """Day number `n`; the first event day of most tests is day 0."""
    return START + dt.timedelta(n)


class Sales(BehaviorAnalysis):
    """How many were sold, and what's the mean price?"""

    reads = (SEARCH, BOOKING)
    window = Window(after=2)
    mart = Mart(day="search_on", grain=_GRAIN, columns={"sold": count("Items sold."), "mean": measure("Mean price.")})


class Stock(BehaviorAnalysis):
    """How much is there?"""

    reads = (INVENTORY,)
    window = Window(before=3)
    mart = Mart(
        day="service_on",
        grain={"resource_id": key("What can fill up."), "service_on": key("Service day.", "date")},
        columns={"on_hand": stock("What is there.")},
        vintage=True,
        ahead=True,
    )


def install(monkeypatch: pytest.MonkeyPatch, *found: BehaviorAnalysis) -> None:
    """Make `found` the only analyses there are."""
    known = registry.analyses()
    for name in reversed(list(known)):  # which come back the other way round
        monkeypatch.delitem(known, name)
    for analysis in found:
        monkeypatch.setitem(known, analysis.name, analysis)


def touch(settings: Settings, batch_id: int, rows: Mapping[int, int], *, event_type: str = "booking") -> None:
    """Commit a batch that staged so many events on those days."""
    with engine(settings.url("owner")).begin() as connection:
        connection.execute(
            text("INSERT INTO control.batch VALUES (:b, now(), 'test', 0, 0, 0, 0) ON CONFLICT DO NOTHING"),
            {"b": batch_id},
        )
        for n, events in rows.items():
            connection.execute(
                text("INSERT INTO control.change VALUES (:t, :d, :b, :r)"),
                {"t": event_type, "d": day(n), "b": batch_id, "r": events},
            )


def publish_days(
    settings: Settings, analysis: str, days: Iterable[int], through: int, fingerprint: str, rows: int = 0
) -> None:
    """Record days as published, with `rows` each, in a mart that stays empty."""
    with engine(settings.url("owner")).begin() as connection:
        if not connection.scalar(text("SELECT to_regclass(:t)::text"), {"t": f"marts.{analysis}"}):
            schema.create_table(connection.connection.cursor(), registry.get(analysis))
        for n in days:
            connection.execute(
                text("INSERT INTO control.published_day VALUES (:a, :d, 1, :t, :f, :rows)"),
                {"a": analysis, "d": day(n), "t": through, "f": fingerprint, "rows": rows},
            )


def write_result(settings: Settings, chunk: Chunk, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write `result.parquet` of a chunk; each row has the mart's columns in order."""
    mart = registry.get(chunk.analysis).mart
    columns = list(zip(*rows, strict=True)) or [[] for _ in mart.all_columns]
    types = {"bigint": pa.int64(), "text": pa.string(), "date": pa.date32(), "double precision": pa.float64()}
    table = pa.table(
        {
            name: pa.array(values, types[column.type])
            for (name, column), values in zip(mart.all_columns.items(), columns, strict=True)
        }
    )
    storage.write_atomic(chunk.result(settings.storage), lambda url: pq.write_table(table, url))


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a query, as the owner."""
    with engine(settings.url("owner")).connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]
