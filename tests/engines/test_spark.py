"""Every analysis on a real Spark Connect server gives the mart that it gives on DuckDB, from the same day files."""

from __future__ import annotations

import datetime as dt
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import fsspec
import narwhals as nw
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

import spark_server
from snapshots.example_analyses import Demand
from snapshots.staged_events import event, stage
from wayfare import landing, marts, simulator, snapshots, storage
from wayfare.analyses import registry
from wayfare.analyses.chunk import Chunk
from wayfare.analyses.registry import analyses
from wayfare.doctor import spark as examination
from wayfare.engines import analyze
from wayfare.errors import DataError, DeclarationError
from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from wayfare.analyses.api import BehaviorAnalysis, Inputs
    from wayfare.settings import Settings

RELATIVE_ERROR = 1e-9
"""By how much floats may differ: engines add them up in different orders, and Java's exp is not C's."""
QUARANTINED, VINTAGES = 3, 4


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Spark Connect server of this module's own."""
    with spark_server.running(tmp_path_factory.mktemp("spark")) as server:
        yield server.url


@pytest.fixture(scope="module")
def installed(
    fresh_installation: Callable[[], AbstractContextManager[Settings]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Settings, dict[str, Chunk]]]:
    """An installation with forty days of a small agency, and the chunk of each analysis, extracted."""
    folder = tmp_path_factory.mktemp("agency")
    simulator.simulate(folder, days=40, customers=900, seed=5, bots=1, form="jsonl")
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    stock = [line for line in lines if b'"event_type":"inventory"' in line]
    lines = [line for line in lines if b'"event_type":"inventory"' not in line] + stock[::25]
    (folder / "all.jsonl").write_bytes(b"\n".join(lines))
    (folder / "odd.jsonl").write_bytes(b"\n".join(_hostile()))
    with fresh_installation() as settings:
        landing.land(settings, [str(folder / "all.jsonl")])
        assert landing.land(settings, [str(folder / "odd.jsonl")]).rejected == 0
        chunks = {name: _chunk(settings, name) for name in analyses()}
        for chunk in chunks.values():
            snapshots.extract(settings, chunk)
            _set_aside(settings, chunk)
        yield settings, chunks


def _chunk(settings: Settings, name: str) -> Chunk:
    """The first chunk of all output days; the last days of a vintage, each of which looks at all there is."""
    chunk = next(iter(marts.plan(settings, name)))
    return replace(chunk, days=chunk.days[-VINTAGES:]) if analyses()[name].mart.vintage else chunk


def _hostile() -> list[bytes]:
    """What a simulator would not write: no rate, a price below zero, nobody known, one instant, odd letters."""
    common = {"schema_version": "1-0-0", "source": "test", "occurred_at": "2025-03-09T23:59:59.999999Z"}
    sold = {
        "start_on": "2025-03-09",
        "end_on": "2026-12-31",
        "destination": "LIS",
        "resource_id": "hotel:LIS/Zürich 'ß'",
    }
    sold |= {"event_type": "booking", "product": "hotel", "units": 2, "currency": "EUR", "price": -12345}
    events: list[dict[str, Any]] = [
        sold | {"item_id": str(n), "booking_id": "odd", "currency": currency, "customer_id": "odd"}
        for n, currency in enumerate(("AED", "EUR", "JPY"))
    ]
    looked = {"event_type": "search", "product": "flight", "destination": "LIS", "adults": 1, "result_count": 0}
    events += [looked | {"search_id": f"odd{n}", "start_on": "2025-04-01"} for n in range(3)]
    events += [looked | {"search_id": f"v{n}", "start_on": "2025-04-01", "visitor_id": "odd"} for n in range(60)]
    return [
        json.dumps({**common, **e, "event_id": f"00000000-0000-4000-8000-{n:012x}"}).encode()
        for n, e in enumerate(events)
    ]


def _set_aside(settings: Settings, chunk: Chunk) -> None:
    """A quarantine of a few events of every type that the chunk reads."""
    rows = []
    for name, files in snapshots.paths(settings, chunk).items():
        if files:
            found = duckdb.read_parquet(files).order("event_id DESC").limit(QUARANTINED)
            rows += [(name, event_id, "a rule") for (event_id,) in found.project("event_id").fetchall()]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE q (event_type TEXT, event_id UUID, rule TEXT)")
        connection.executemany("INSERT INTO q VALUES (?, ?, ?)", rows)
        fsspec.filesystem("file").makedirs(chunk.folder(settings.storage), exist_ok=True)
        connection.table("q").write_parquet(chunk.quarantine(settings.storage))


def _on_spark(settings: Settings, remote: str) -> Settings:
    return settings.model_copy(update={"engine": "spark", "spark_remote": SecretStr(remote)})


@pytest.fixture(scope="module")
def results(installed: tuple[Settings, dict[str, Chunk]], remote: str) -> dict[str, tuple[pa.Table, pa.Table]]:
    """What each analysis gives on DuckDB and on Spark, two at a time: planning keeps one core busy."""
    settings, chunks = installed
    spark = _on_spark(settings, remote)

    def both(chunk: Chunk) -> tuple[pa.Table, pa.Table]:
        analyze(settings, chunk)
        expected = pq.read_table(chunk.result(settings.storage))
        analyze(spark, chunk)
        return expected, pq.read_table(chunk.result(settings.storage))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(chunks, pool.map(both, chunks.values()), strict=True))


@pytest.mark.parametrize("name", analyses())
def test_the_mart_is_that_of_duckdb(name: str, results: dict[str, tuple[pa.Table, pa.Table]]) -> None:
    expected, found = results[name]
    assert expected.num_rows > 1, "there is something to compare"
    assert [(f.name, f.type) for f in found.schema] == [(f.name, f.type) for f in expected.schema]
    assert found.num_rows == expected.num_rows
    for column in expected.column_names:
        pairs = zip(expected[column].to_pylist(), found[column].to_pylist(), strict=True)
        differ = [(a, b) for a, b in pairs if not _same(a, b)]
        assert differ[:5] == [], column


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=RELATIVE_ERROR, abs_tol=RELATIVE_ERROR)
    return bool(a == b)


def test_a_mart_is_published(settings: Settings, remote: str) -> None:
    stage(settings, 1, [event("booking", f"2026-03-0{day}") for day in (1, 2, 2)])
    list(bring_up_to_date(_on_spark(settings, remote), "economic_results"))
    with psycopg.connect(settings.url("owner")) as connection:
        items = connection.execute("SELECT items FROM bi.economic_results ORDER BY booked_on").fetchall()
    assert items == [(1,), (2,)]


CHUNK = Chunk("demand", (dt.date(2026, 3, 1), dt.date(2026, 3, 2)), 1, "f")


def _run(settings: Settings, monkeypatch: pytest.MonkeyPatch, analysis: BehaviorAnalysis) -> list[dict[str, Any]]:
    monkeypatch.setitem(registry.analyses(), "demand", analysis)
    snapshots.extract(settings, CHUNK)
    analyze(settings, CHUNK)
    folder = CHUNK.folder(settings.storage)
    assert [f.rpartition("/")[2] for f in storage.children(folder)] == ["result.parquet"], "nothing else is left"
    rows: list[dict[str, Any]] = pq.read_table(CHUNK.result(settings.storage)).to_pylist()
    return rows


def test_no_events_at_all_give_an_empty_result(
    settings: Settings, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(_on_spark(settings, remote), monkeypatch, Demand()) == []


def test_a_file_of_an_older_contract_revision_has_nulls_for_new_fields(
    settings: Settings, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cabins(Demand):
        """What is known of an event."""

        def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
            cabin = nw.coalesce("cabin", nw.lit("unknown"))
            return given["search"].select(search_on="event_on", destination=cabin, searches=nw.lit(1), share=nw.lit(1))

    monkeypatch.setitem(registry.analyses(), "demand", Cabins())
    stage(settings, 1, [event("search", "2026-03-01", cabin="economy"), event("search", "2026-03-02", cabin="first")])
    snapshots.extract(settings, CHUNK)
    old, _ = snapshots.paths(settings, CHUNK)["search"]
    pq.write_table(pq.read_table(old).drop_columns(["cabin"]), old)
    rows = _run(_on_spark(settings, remote), monkeypatch, Cabins())
    assert [(r["search_on"].day, r["destination"]) for r in rows] == [(1, "unknown"), (2, "first")]


def test_what_is_kept_is_computed_once_and_pandas_comes_back(
    settings: Settings, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Once(Demand):
        """A frame used twice."""

        def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
            kept = given.keep(nw.from_native(nw.to_native(super().analyze(given)).selectExpr("*", "uuid() AS id")))
            both = kept.join(kept.select("search_on", "destination", other="id"), on=["search_on", "destination"])
            same = both.filter(nw.col("id") == nw.col("other")).drop("id", "other")
            return same.collect(backend="pandas").lazy()

    stage(settings, 1, [event("search", "2026-03-01")])
    assert [r["searches"] for r in _run(_on_spark(settings, remote), monkeypatch, Once())] == [1]


@pytest.mark.parametrize(
    ("value", "fault", "says"),
    [
        ("9223372036854775807 + event_on.day", DataError, "fit"),
        ("'many'", DataError, "fit"),
        ("raise_error('no')", DataError, "cannot be computed"),
        ("nowhere", DeclarationError, "asks for what is not there"),
    ],
)
def test_what_is_wrong_with_an_analysis_is_told(
    settings: Settings,
    remote: str,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    fault: type[Exception],
    says: str,
) -> None:
    class Odd(Demand):
        """More than a bigint, text where a number belongs, an error of its own, or a column that nobody has."""

        def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
            days = nw.to_native(given.days)
            sql = value.replace("event_on.day", "day(output_on)")
            return nw.from_native(
                days.selectExpr("output_on AS search_on", "'LIS' AS destination", f"{sql} AS searches", "1 AS share")
            )

    with pytest.raises(fault, match=says):
        _run(_on_spark(settings, remote), monkeypatch, Odd())
    assert not storage.exists(CHUNK.result(settings.storage))


def test_the_doctor_says_what_the_server_lacks(
    settings: Settings, remote: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(given: Settings) -> dict[str, str]:
        return {f.check: f"{f.status}: {f.found}" for f in examination.examine(given)}

    assert found(settings) == {}, "DuckDB is the engine"
    sound = _on_spark(settings, remote)
    assert set(found(sound)) == {"spark.version", "spark.storage"}
    assert all(told.startswith("ok") for told in found(sound).values())
    monkeypatch.setattr(examination.metadata, "version", lambda _: "3.5.1")
    assert "the client 3.5.1" in found(sound)["spark.version"]
    nobody = found(_on_spark(settings, f"sc://127.0.0.1:{free_port}"))
    assert f"failed: the Spark Connect server 127.0.0.1:{free_port} does not answer" in nobody["spark"]
    mistyped = found(_on_spark(settings, f"{remote}/;token=secret=="))["spark"]
    assert "%3D for =" in mistyped
    assert "secret" not in mistyped
    unset = settings.model_copy(update={"engine": "spark"})
    assert "set WAYFARE_SPARK_REMOTE" in found(unset)["spark"]


def test_marts_have_values_where_they_are_hardest(results: dict[str, tuple[pa.Table, pa.Table]]) -> None:
    for name, column in (
        ("customer_value", "expected_purchases"),
        ("capacity_alerts", "full_probability"),
        ("inventory_requirements", "order_quantity"),
        ("cancellation_risk", "survival"),
        ("traffic_anomalies", "z"),
    ):
        values = results[name][0][column]
        assert len(values) > values.null_count, f"{name}.{column}"
