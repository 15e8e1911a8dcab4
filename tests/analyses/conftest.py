"""Running an analysis on plain Python rows: no files, no database, one DuckDB connection for the session."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest

from wayfare.analyses.api import BehaviorAnalysis, Inputs
from wayfare.contracts.model import EventType, Field, Kind
from wayfare.snapshots import REFERENCE_COLUMNS, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, Any]

_DAY = dt.date(2026, 3, 1)
_RATES = pa.schema([("currency", pa.string()), ("rate_on", pa.date32()), ("to_reporting", pa.float64())])
_PLACES = pa.schema([(name, pa.string()) for name in ("place", "city", "city_name", "country", "zone")])
_REFERENCE_DEFAULTS: Row = {"item_rank": 1, "item_is_test": False} | {
    c.name: 0 for c in REFERENCE_COLUMNS if c.name.startswith(("reversed_", "kept_", "given_"))
}
_BY_KIND: dict[Kind, Any] = {
    Kind.TEXT: "x",
    Kind.DATE: _DAY,
    Kind.COUNT: 1,
    Kind.MONEY: 0,
    Kind.CURRENCY: "EUR",
    Kind.PLACE: "LIS",
    Kind.FLAG: True,
}


def _default(f: Field, number: int) -> Any:
    if f.default is not None or not f.required:
        return f.default
    if f.kind is Kind.ID:
        return f"{f.name}-{number}"
    return f.choices[0] if f.kind is Kind.CHOICE else _BY_KIND.get(f.kind)


def filled(event_type: EventType, row: Mapping[str, Any], number: int) -> Row:
    """The row with every column its day file has.

    Of `occurred_at` and `event_on` either follows from the other (noon, UTC); `event_id` may be a number; absent ids
    are unique, absent choices the first of the contract, absent counts 1, amounts 0, currency EUR, place LIS.
    """
    unknown = set(row) - set(schema(event_type).names)
    assert not unknown, f"{event_type.name} has no {sorted(unknown)}"
    day = row["event_on"] if "event_on" in row else row["occurred_at"].date() if "occurred_at" in row else _DAY
    at = row.get("occurred_at", dt.datetime.combine(day, dt.time(12), dt.UTC))
    made: Row = {f.name: _default(f, number) for f in event_type.fields}
    made |= {"event_id": number, "schema_version": event_type.version, "occurred_at": at}
    made |= {"event_on": day, "landed_at": at, "batch_id": 1}
    if event_type.refers:
        made |= _REFERENCE_DEFAULTS
    made |= row
    for name in ("event_id", "item_event_id"):
        if isinstance(made.get(name), int):
            made[name] = uuid.UUID(int=made[name]).bytes
    return made


def _refer(tables: Mapping[str, list[Row]]) -> None:
    """Add `item_event_id` to rows that do not say it: the first sale of their key."""
    sold: dict[Any, bytes] = {}
    for kind, key in (("booking", "item_id"), ("purchase", "purchase_id")):
        for row in tables.get(kind, ()):
            sold.setdefault((kind, row["booking_id"] or "none", row[key]), row["event_id"])
    for row in itertools.chain(*tables.values()):
        if "item_key" in row and "item_event_id" not in row:
            row["item_event_id"] = sold.get((row["item_kind"], row["booking_id"], row["item_key"]))


def days(first: dt.date, count: int) -> list[dt.date]:
    """`count` days from `first` on."""
    return [first + dt.timedelta(n) for n in range(count)]


@dataclass
class Runner:
    """Runs analyses over rows given as dicts by event type; what a row does not say is filled in (see `filled`)."""

    connection: duckdb.DuckDBPyConnection

    def frame(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """A lazy frame over an Arrow table."""
        return nw.from_native(self.connection.from_arrow(table)).lazy()

    def inputs(
        self,
        analysis: BehaviorAnalysis,
        events: Mapping[str, Iterable[Mapping[str, Any]]],
        output: Sequence[dt.date],
        *,
        rates: Iterable[tuple[str, dt.date, float]] = (),
        places: Iterable[Mapping[str, str]] = (),
        horizon: dt.date | None = None,
        service_level: float = 0.98,
    ) -> Inputs:
        """What the engine would hand over: only the days that the windows of `output` read, test events left out.

        `horizon` is by default the last day of any event given.
        """
        spans = [analysis.reads_of(day) for day in output]
        number = itertools.count(1)
        given = {e.name: [filled(e, row, next(number)) for row in events.get(e.name, ())] for e in analysis.reads}
        _refer(given)
        tables, seen = {}, [max(output)]
        for event_type in analysis.reads:
            rows = given[event_type.name]
            seen += [row["event_on"] for row in rows]
            read = [r for r in rows if any(first <= r["event_on"] <= last for first, last in spans)]
            read = [r for r in read if not r["is_test"] and not r.get("item_is_test")]
            tables[event_type.name] = self._table(event_type, read)
        rate_rows = [dict(zip(_RATES.names, rate, strict=True)) for rate in rates]
        return Inputs(
            events={name: self.frame(table) for name, table in tables.items()},
            days=self.frame(pa.table({"output_on": pa.array(output, pa.date32())})),
            rates=self.frame(pa.Table.from_pylist(rate_rows, _RATES)),
            places=self.frame(pa.Table.from_pylist([dict(p) for p in places], _PLACES)),
            first_on=min(output),
            last_on=max(output),
            horizon=horizon or max(seen),
            service_level=service_level,
            frame=self.frame,
            keep_all=self._kept,
            days_at_once=40,
        )

    def _kept(self, frames: Iterable[nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        name = f"kept_{uuid.uuid4().hex}"
        nw.to_native(nw.concat(list(frames))).create(name)
        return nw.from_native(self.connection.table(name)).lazy()

    @staticmethod
    def _table(event_type: EventType, rows: list[Row]) -> pa.Table:
        columns = schema(event_type)
        plain = pa.schema([f.with_type(getattr(f.type, "storage_type", f.type)) for f in columns])
        return pa.Table.from_pylist(rows, plain).cast(columns)

    def analyze(
        self,
        analysis: BehaviorAnalysis,
        events: Mapping[str, Iterable[Mapping[str, Any]]],
        output: Sequence[dt.date],
        **given: Any,
    ) -> list[Row]:
        """The mart's rows of the output days, sorted by grain; checks columns, nulls and that the grain is the key.

        Keyword arguments are those of `inputs`.
        """
        mart = analysis.mart
        rows = self.rows(analysis.analyze(self.inputs(analysis, events, output, **given)))
        rows = sorted((r for r in rows if r[mart.day] in set(output)), key=lambda r: [r[k] for k in mart.grain])
        for row in rows:
            assert list(row) == list(mart.all_columns), "columns are those of the mart, in its order"
            missing = [n for n, c in mart.all_columns.items() if row[n] is None and not c.nullable]
            assert not missing, f"{missing} must not be null"
        grains = [tuple(r[k] for k in mart.grain) for r in rows]
        assert len(grains) == len(set(grains)), "the grain is the key"
        return rows

    def totals(
        self,
        analysis: BehaviorAnalysis,
        events: Mapping[str, Iterable[Mapping[str, Any]]],
        output: Sequence[dt.date],
        **given: Any,
    ) -> Row:
        """The one row of `analysis.totals`."""
        (row,) = self.rows(analysis.totals(self.inputs(analysis, events, output, **given)))
        return row

    @staticmethod
    def rows(frame: nw.LazyFrame[Any]) -> list[Row]:
        """Rows of a lazy frame as dicts."""
        relation = frame.to_native()
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


@pytest.fixture(scope="session")
def runner() -> Runner:
    """The session's runner."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return Runner(connection)
