"""Running an analysis: what it is given, and what is written of what it returns."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snapshots.example_analyses import Demand
from snapshots.staged_events import event, stage
from wayfare import engines, snapshots
from wayfare.analyses import registry
from wayfare.analyses.api import BehaviorAnalysis, Mart, Window, measure
from wayfare.analyses.chunk import Chunk
from wayfare.contracts import EVENT_TYPES
from wayfare.engines import analyze, inputs, session
from wayfare.errors import ConfigurationError, DataError, DeclarationError
from wayfare.staging.database import engine
from wayfare.staging.tables import quarantine

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs, SqlType
    from wayfare.settings import Settings

DAY = dt.date(2026, 3, 1)
CHUNK = Chunk("demand", (DAY, DAY + dt.timedelta(2)), 1, "f")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "demand", Demand())


def _register(monkeypatch: pytest.MonkeyPatch, analysis: BehaviorAnalysis) -> None:
    monkeypatch.setitem(registry.analyses(), "demand", analysis)


def _run(settings: Settings, chunk: Chunk = CHUNK) -> list[dict[str, Any]]:
    snapshots.extract(settings, chunk)
    done = analyze(settings, chunk)
    rows: list[dict[str, Any]] = _result(settings, chunk).to_pylist()
    assert done == {"rows": len(rows)}
    return rows


def _result(settings: Settings, chunk: Chunk = CHUNK) -> pa.Table:
    with fsspec.open(chunk.result(settings.storage)) as file:
        return pq.read_table(file)


def test_the_result_is_the_marts_columns_of_the_chunks_days_in_order(anywhere: Settings) -> None:
    settings = anywhere
    days = ["2026-03-03", "2026-03-01", "2026-03-02", "2026-03-01", "2026-03-04"]
    places = ["LIS", "OPO", "LIS", "LIS", "LIS"]
    stage(settings, 1, [event("search", d, destination=p) for d, p in zip(days, places, strict=True)])
    rows = _run(settings)
    assert [(r["search_on"].day, r["destination"], r["searches"]) for r in rows] == [
        (1, "LIS", 1),
        (1, "OPO", 1),
        (3, "LIS", 1),
    ]
    written = _result(settings).schema
    assert written.names == list(Demand.mart.all_columns)
    assert [written.field(n).type for n in written.names] == [pa.date32(), pa.string(), pa.int64(), pa.float64()]
    assert _run(settings) == rows


def test_a_large_result_is_in_order(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wide(Demand):
        """Many rows a day."""

        def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
            days = nw.to_native(given.days)
            made = days.project("output_on AS search_on, unnest(range(300000)) AS n, 1::DOUBLE AS share")
            made = made.project("search_on, md5(n::text) AS destination, n AS searches, share")
            return nw.from_native(made)

    _register(monkeypatch, Wide())
    stage(settings, 1, [event("search", "2026-03-01")])
    snapshots.extract(settings, CHUNK)
    assert analyze(settings, CHUNK) == {"rows": 600_000}
    keys = pq.read_table(CHUNK.result(settings.storage), columns=["search_on", "destination"])
    assert keys.equals(keys.sort_by([("search_on", "ascending"), ("destination", "ascending")]))


def test_no_events_at_all_give_an_empty_result(settings: Settings) -> None:
    assert _run(settings) == []


def test_the_more_a_window_holds_the_fewer_days_are_taken_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(settings, 1, [event("search", day) for day in ["2026-03-01", "2026-03-01", "2026-03-03", "2026-04-01"]])
    snapshots.extract(settings, CHUNK)
    with session(settings) as connection:

        def by_days(repeated_rows: int) -> list[tuple[int, dt.date]]:
            monkeypatch.setattr(engines.frames, "REPEATED_ROWS", repeated_rows)
            number = itertools.count()
            rows = inputs(connection, settings, CHUNK).by_days(
                lambda few: few.days.with_columns(n=nw.lit(next(number)))
            )
            return nw.to_native(rows).project("n, output_on").order("ALL").fetchall()

        first, last = CHUNK.days
        assert [by_days(rows) for rows in (6, 5, 0)] == [
            [(0, first), (0, last)],
            [(0, first), (1, last)],
            [(0, first), (1, last)],
        ]


@pytest.mark.parametrize(("days_of_rows", "passes"), [(120, 1), (110, 2)])
def test_few_rows_are_repeated_for_more_days_at_once(
    days_of_rows: int, passes: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    chunk = replace(CHUNK, days=tuple(dt.date(2026, 3, day) for day in range(1, 13)))
    snapshots.extract(settings, chunk)
    monkeypatch.setattr(engines.frames, "REPEATED_ROWS", days_of_rows)
    number = itertools.count()
    with session(settings) as connection:
        rows = inputs(connection, settings, chunk).by_days(lambda few: few.days.with_columns(n=nw.lit(next(number))))
        assert nw.to_native(rows).aggregate("count(*), count(DISTINCT n)").fetchall() == [(12, passes)]


def test_tests_and_what_refers_to_tests_are_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancelled(BehaviorAnalysis):
        """Cancellations."""

        reads: ClassVar = (EVENT_TYPES["cancellation"], EVENT_TYPES["search"])
        window: ClassVar[Window] = Window(after=1)
        mart: ClassVar[Mart] = Demand.mart

    _register(monkeypatch, Cancelled())
    events = [event("booking", "2026-03-01", booking_id="T", is_test=True), event("booking", "2026-03-01")]
    events += [event("cancellation", "2026-03-02", booking_id=b, is_test=t) for b, t in [("T", False), ("B", True)]]
    events += [event("cancellation", "2026-03-02", booking_id="B", is_test=False, cancellation_id="real")]
    events += [event("search", "2026-03-02", is_test=t) for t in (True, False, None)]
    stage(settings, 1, events)
    snapshots.extract(settings, CHUNK)
    with session(settings) as connection:
        given = inputs(connection, settings, CHUNK)
        kept = nw.to_native(given["cancellation"]).project("cancellation_id, reversed_price").fetchall()
        assert kept == [("real", 100)]
        assert nw.to_native(given["search"]).shape[0] == 2


def test_quarantined_events_are_left_out_of_their_type_alone(settings: Settings) -> None:
    events = [event("search", "2026-03-01"), event("search", "2026-03-01"), event("booking", "2026-03-01")]
    stage(settings, 1, events)
    snapshots.extract(settings, CHUNK)
    searches, bookings = (uuid.UUID(int=events[n][1]["event_id"].int) for n in (0, 2))
    folder = CHUNK.folder(settings.storage)
    with session(settings) as connection:
        pairs = connection.sql(
            "SELECT * FROM (VALUES ('search', $1::UUID), ('search', $2::UUID), ('search', $2::UUID))"
            " AS q (event_type, event_id)",
            params=[searches, bookings],
        )
        (settings.home / "storage" / "work").mkdir(parents=True)
        fsspec.filesystem("file").makedirs(folder)
        pairs.project("*, 'r' AS rule").write_parquet(f"{folder}/quarantine.parquet")
        given = inputs(connection, settings, CHUNK)
        assert nw.to_native(given["search"]).project("event_id").fetchall() == [(events[1][1]["event_id"],)]
        assert nw.to_native(given["booking"]).project("event_id").fetchall() == [(bookings,)]


def test_what_was_set_aside_is_not_taken_back_in_because_its_file_is_gone(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    snapshots.extract(settings, CHUNK)
    aside = {"analysis": "demand", "event_type": "search", "event_on": DAY, "event_id": uuid.uuid4(), "rule": "r"}
    for batch_id, others in ((1, {"event_on": DAY + dt.timedelta(9)}), (2, {}), (1, {"analysis": "other"})):
        with engine(settings.url("owner")).begin() as connection:
            connection.execute(quarantine.insert().values(**{**aside, "through_batch": batch_id, **others}))
    assert analyze(settings, CHUNK) == {"rows": 1}
    with engine(settings.url("owner")).begin() as connection:
        connection.execute(quarantine.insert().values(**aside, through_batch=1))
    with pytest.raises(DataError, match=r"quarantine.parquet is missing, .* run the validate step"):
        analyze(settings, CHUNK)


def test_a_file_of_an_older_contract_revision_has_nulls_for_new_fields(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01", cabin="economy"), event("search", "2026-03-02", cabin="first")])
    snapshots.extract(settings, CHUNK)
    old, _ = snapshots.paths(settings, CHUNK)["search"]
    pq.write_table(pq.read_table(old).drop_columns(["cabin"]), old)
    with session(settings) as connection:
        frame = inputs(connection, settings, CHUNK)["search"]
        assert nw.to_native(frame).project("event_on, cabin").order("1").fetchall() == [
            (DAY, None),
            (DAY + dt.timedelta(1), "first"),
        ]
        assert list(frame.collect_schema()) == snapshots.schema(EVENT_TYPES["search"]).names


def test_inputs_say_their_days_horizon_and_service_level(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2031-03-01"), event("booking", "2031-03-09"), event("refund", "2031-04-01")])
    stage(settings, 2, [event("search", "2031-03-20")])
    chunk = replace(CHUNK, days=(dt.date(2031, 3, 1), dt.date(2031, 3, 3)))
    snapshots.extract(settings, chunk)
    with session(settings) as connection:
        given = inputs(connection, settings.model_copy(update={"service_level": 0.9}), chunk)
        assert (given.first_on, given.last_on, given.horizon) == (*chunk.days, dt.date(2031, 3, 9))
        assert given.service_level == 0.9
        assert nw.to_native(given.rates).aggregate("max(rate_on)").fetchall() == [(given.horizon,)]
        assert nw.to_native(given.days).order("1").fetchall() == [(day,) for day in chunk.days]
        assert nw.to_native(given.places).filter("place = 'LHR'").project("city").fetchall() == [("LON",)]


class _Odd(Demand):
    """An analysis whose frame is set by the test."""

    frame: ClassVar[str]

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        return nw.from_native(nw.to_native(given.days).project(self.frame))


def test_other_columns_than_the_marts_are_refused_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(_Odd):
        """Columns that do not fit."""

        frame = "output_on AS search_on, 'LIS' AS destination, 1 AS serches, 2 AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(DeclarationError, match=r"odd.*lacks searches and has serches.*'searches', 'share'"):
        _run(settings)


def test_a_value_that_does_not_fit_is_the_datas_fault(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(_Odd):
        """Text where a number belongs."""

        frame = "output_on AS search_on, 'LIS' AS destination, 'many' AS searches, 2 AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(DataError, match=r"analysis odd: analyze: a value does not fit its column.*many"):
        _run(settings)
    assert not fsspec.filesystem("file").exists(CHUNK.result(settings.storage))


@pytest.mark.parametrize("share", ["1.5::DOUBLE", "1.5::FLOAT", "1.5"])
def test_a_fraction_is_refused_where_the_mart_has_whole_numbers(
    share: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(_Odd):
        """A fraction of money, beside whole numbers that are floats."""

        mart = replace(Demand.mart, columns={**Demand.mart.columns, "share": measure("Cents.", "bigint")})
        frame = f"output_on AS search_on, 'LIS' AS destination, 2::DOUBLE AS searches, {share} AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(
        DataError, match=r"analysis odd: analyze .*mart column share has 1\.5, which is not a whole number"
    ):
        _run(settings)
    monkeypatch.setattr(Odd, "frame", Odd.frame.replace("1.5", "if(day(output_on) > 1, NULL, 3)"))
    assert [(r["searches"], r["share"]) for r in _run(settings)] == [(2, 3), (2, None)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "DATE '10000-01-01'"),
        ("date", "DATE '0001-12-31 (BC)'"),
        ("timestamptz", "TIMESTAMPTZ 'infinity'"),
    ],
)
def test_a_date_that_no_mart_gives_back_is_refused(
    kind: SqlType, value: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(_Odd):
        """A share that is a date."""

        mart = replace(Demand.mart, columns={**Demand.mart.columns, "share": measure("When.", kind)})
        frame = f"output_on AS search_on, 'LIS' AS destination, 1 AS searches, {value} AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(
        DataError, match=r"analysis odd: mart column share has .*, which is outside the years 1 to 9999"
    ):
        _run(settings)
    assert not fsspec.filesystem("file").exists(CHUNK.result(settings.storage))


def test_a_column_that_is_not_there_is_the_declarations_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(_Odd):
        """What nobody has."""

        frame = "output_on AS search_on, nowhere AS destination, 1 AS searches, 2 AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(DeclarationError, match=r"odd.*nowhere"):
        _run(settings)


def test_what_analyze_gets_wrong_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Demand()
    _register(monkeypatch, odd)
    snapshots.extract(settings, CHUNK)
    wrong: dict[str, Any] = {
        "analyze returns NoneType; end it with `return`": lambda _: None,
        "analyze returns DuckDBPyRelation; end it with": lambda given: nw.to_native(given.days),
        'analyze asks for what is not there: .*"nowhere"': lambda given: given.days.select("nowhere"),
        "analyze cannot be computed: Parser Error": lambda given: nw.from_native(nw.to_native(given.days).filter(">>")),
    }
    for said, analyze_ in wrong.items():
        odd.analyze = analyze_  # type: ignore[method-assign]
        with pytest.raises(DeclarationError, match=f"analysis demand: {said}"):
            analyze(settings, CHUNK)


@pytest.mark.parametrize(
    "destination",
    ["strptime('soon', '%d/%m/%Y')", "regexp_extract('LIS', '(')", "(FROM range(day(output_on) + 1))", "error('no')"],
)
def test_what_cannot_be_computed_names_the_analysis_and_is_not_tried_again(
    destination: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(_Odd):
        """A text that is no date, a pattern that is none, several rows for one."""

        frame = f"output_on AS search_on, {destination} AS destination, 1 AS searches, 2 AS share"

    _register(monkeypatch, Odd())
    with pytest.raises(
        DataError, match=r"(?s)analysis odd: analyze cannot be computed: .*; correct it, or make it handle"
    ):
        _run(settings)


def test_too_little_memory_names_the_setting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(_Odd):
        """More than fits."""

        frame = "output_on AS search_on, (SELECT string_agg(md5(r::text), '') FROM range(3000000) t(r)) AS destination,\
 1 AS searches, 2 AS share"

    _register(monkeypatch, Odd())
    small = settings.model_copy(update={"duckdb_memory_limit": "30MB", "duckdb_threads": 1})
    with pytest.raises(ConfigurationError, match="WAYFARE_DUCKDB_MEMORY_LIMIT"):
        _run(small)


def test_a_frame_that_left_duckdb_comes_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Demand):
        """Pandas at the end, with an index of its own."""

        def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
            frame = super().analyze(given).collect(backend="pandas")
            return nw.from_native(nw.to_native(frame).set_axis(["one"])).lazy()

    _register(monkeypatch, Odd())
    stage(settings, 1, [event("search", "2026-03-01")])
    assert [r["searches"] for r in _run(settings)] == [1]
