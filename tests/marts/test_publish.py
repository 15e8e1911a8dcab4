"""Publishing: marts, revisions, accounts, views and grants on a real PostgreSQL."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from marts import tiny
from marts.tiny import day
from wayfare.analyses.api import Column, Every, Window, count, key, measure
from wayfare.analyses.chunk import Chunk
from wayfare.errors import DataError, DeclarationError, ServiceError
from wayfare.marts import plan, publish, status
from wayfare.marts.rows import ROWS_AT_ONCE
from wayfare.staging import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wayfare.settings import Settings

SALES = "SELECT city, search_on, sold, mean FROM bi.sales ORDER BY search_on, city"


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.install(monkeypatch, tiny.Sales(), tiny.Stock())


def chunk(days: Sequence[int], *, analysis: str = "sales", through: int = 1, fingerprint: str = "f" * 64) -> Chunk:
    return Chunk(analysis, tuple(day(n) for n in days), through, fingerprint)


def put(settings: Settings, given: Chunk, rows: Sequence[tuple[object, ...]]) -> dict[str, object]:
    tiny.write_result(settings, given, rows)
    return publish(settings, given, run_id="test")


def test_publish_shows_the_result_and_accounts_for_every_day(settings: Settings) -> None:
    tiny.touch(settings, 1, {0: 2, 1: 0})
    (planned,) = plan(settings, "sales")
    outcome = put(settings, planned, [("LIS", day(0), 2, 1.5), ("OPO", day(0), 1, None)])
    assert outcome == {"mart": "marts.sales", "publication_id": 1, "days": 2, "rows": 2, "left": 0}
    assert tiny.query(settings, SALES) == [("LIS", day(0), 2, 1.5), ("OPO", day(0), 1, None)]
    assert tiny.query(settings, "SELECT * FROM control.published_day ORDER BY output_on") == [
        ("sales", day(0), 1, 1, planned.fingerprint, 2),
        ("sales", day(1), 1, 1, planned.fingerprint, 0),
    ]
    accounted = (
        "SELECT publication_id, analysis, output_from, output_to, through_batch, rows, run_id FROM control.publication"
    )
    assert tiny.query(settings, accounted) == [(1, "sales", day(0), day(1), 1, 2, "test")]
    assert plan(settings, "sales") == []


def test_publishing_again_replaces_the_days_and_no_other(settings: Settings) -> None:
    put(settings, chunk([0, 1, 2]), [("LIS", day(n), n, None) for n in range(3)])
    put(settings, chunk([1], through=2), [("OPO", day(1), 9, None)])
    expected = [("LIS", day(0), 0, None), ("OPO", day(1), 9, None), ("LIS", day(2), 2, None)]
    assert tiny.query(settings, SALES) == expected
    put(settings, chunk([1], through=2), [("OPO", day(1), 9, None)])
    assert tiny.query(settings, SALES) == expected


def test_rows_of_days_that_were_not_asked_for_are_dropped(settings: Settings) -> None:
    outcome = put(settings, chunk([0]), [("LIS", day(0), 1, None), ("LIS", day(1), 1, None)])
    assert outcome["rows"] == 1
    assert tiny.query(settings, SALES) == [("LIS", day(0), 1, None)]


def test_a_late_run_never_takes_a_day_back_in_time(settings: Settings) -> None:
    put(settings, chunk([0, 1], through=5), [("LIS", day(0), 5, None), ("LIS", day(1), 5, None)])
    outcome = put(settings, chunk([1, 2], through=4), [("LIS", day(1), 4, None), ("LIS", day(2), 4, None)])
    assert (outcome["days"], outcome["left"], outcome["rows"]) == (1, 1, 1)
    sold = "SELECT search_on, sold FROM bi.sales ORDER BY 1"
    assert tiny.query(settings, sold) == [(day(0), 5), (day(1), 5), (day(2), 4)]
    outcome = put(settings, chunk([0, 1], through=3, fingerprint="e" * 64), [("LIS", day(0), 3, None)])
    assert (outcome["publication_id"], outcome["left"]) == (None, 2)
    assert tiny.query(settings, sold) == [(day(0), 5), (day(1), 5), (day(2), 4)]


def test_a_vintage_closes_what_changed_and_keeps_what_did_not(settings: Settings) -> None:
    rows = [(name, day(0), units) for name, units in (("a", 1), ("b", 2), ("c", 3))]
    put(settings, chunk([0], analysis="stock"), [*rows, ("a", day(1), 7)])
    put(settings, chunk([0], analysis="stock", through=2), [("a", day(0), 1), ("b", day(0), 5), ("d", day(0), 4)])
    again = put(
        settings, chunk([0], analysis="stock", through=3), [("a", day(0), 1), ("b", day(0), 5), ("d", day(0), 4)]
    )
    assert again["rows"] == 3
    stored = "SELECT resource_id, on_hand, published_in FROM marts.stock ORDER BY 1, 3"
    assert tiny.query(settings, stored) == [("a", 1, 1), ("b", 5, 2), ("d", 4, 2)]
    closed = "SELECT resource_id, on_hand, published_in, superseded_in FROM marts.stock_superseded ORDER BY 1"
    assert tiny.query(settings, closed) == [("b", 2, 1, 2), ("c", 3, 1, 2)]
    assert tiny.query(settings, "SELECT resource_id, on_hand FROM bi.stock ORDER BY 1") == [
        ("a", 1),
        ("b", 5),
        ("d", 4),
    ]
    history = "SELECT resource_id, on_hand, superseded_at >= published_at FROM bi.stock_history ORDER BY 1, 2"
    assert tiny.query(settings, history) == [
        ("a", 1, None),
        ("b", 2, True),
        ("b", 5, None),
        ("c", 3, True),
        ("d", 4, None),
    ]


@pytest.mark.parametrize("others", [0, ROWS_AT_ONCE - 1, 2 * ROWS_AT_ONCE])
def test_two_rows_for_one_key_publish_nothing(others: int, settings: Settings) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    rows = [(f"A{n:09}", day(0), 1, None) for n in range(others)] + [("LIS", day(0), n, None) for n in (1, 2)]
    with pytest.raises(DataError, match=r"two rows for one key: {'city': 'LIS', .*2026, 3, 1"):
        put(settings, chunk([0], through=2), rows)
    assert tiny.query(settings, SALES) == [("LIS", day(0), 1, None)]
    assert tiny.query(settings, "SELECT through_batch FROM control.published_day") == [(1,)]


def test_a_missing_result_names_its_path(settings: Settings) -> None:
    with pytest.raises(DataError, match=r"work/sales/.*result\.parquet is missing"):
        publish(settings, chunk([0]), run_id="test")


def test_a_database_that_does_not_answer_may_be_retried(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_result(settings, chunk([0]), [])
    monkeypatch.setenv("WAYFARE_PIPELINE_URL", "postgresql://nobody@127.0.0.1:1/none")
    elsewhere = type(settings)()
    with pytest.raises(ServiceError):
        publish(elsewhere, chunk([0]), run_id="test")


class Wider(tiny.Sales):
    """Sales, with more to say."""

    mart = dataclasses.replace(
        tiny.Sales.mart,
        columns={"lost": Column("Items lost.", "bigint", nullable=False), **tiny.Sales.mart.columns},
    )
    window = Window(after=5)
    name = "sales"  # type: ignore[assignment]  # a plain attribute in place of the property


def test_a_mart_gains_a_column_and_its_view_keeps_the_order_of_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, chunk([0, 1]), [("LIS", day(0), 1, None), ("LIS", day(1), 1, None)])
    tiny.install(monkeypatch, Wider())
    put(settings, chunk([1], fingerprint="e" * 64), [("LIS", day(1), 3, 1, None)])
    assert tiny.query(settings, "SELECT * FROM bi.sales ORDER BY search_on") == [
        ("LIS", day(0), False, 1, None, None),
        ("LIS", day(1), False, 1, None, 3),
    ]
    (definition,) = tiny.query(settings, "SELECT pg_get_viewdef('bi.sales'::regclass)")
    assert "+ 5" in definition[0]
    assert tiny.query(settings, "SELECT obj_description('bi.sales'::regclass)") == [
        ("Sales, with more to say. The reporting currency is EUR.",)
    ]


def test_a_mart_gains_a_column_under_its_readers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    given = chunk([0], fingerprint="e" * 64)
    tiny.install(monkeypatch, Wider())
    tiny.write_result(settings, given, [("LIS", day(0), 3, 1, None)])
    with psycopg.connect(settings.url("owner"), autocommit=True) as analyst:
        analyst.execute("CREATE SCHEMA own")
        analyst.execute("CREATE VIEW own.by_city AS SELECT * FROM bi.sales")
        analyst.execute("CREATE MATERIALIZED VIEW own.kept AS SELECT city, sold FROM own.by_city")
    with psycopg.connect(settings.url("owner")) as reader, ThreadPoolExecutor(1) as pool:
        before = reader.execute("SELECT * FROM own.by_city").fetchall()
        publishing = pool.submit(publish, settings, given, run_id="test")
        _wait_until_blocked(settings, publishing.done)
        assert reader.execute("SELECT * FROM own.by_city").fetchall() == before
        reader.commit()
        assert publishing.result()["rows"] == 1
        assert reader.execute("SELECT * FROM own.by_city").fetchall() == before
        assert reader.execute("SELECT lost FROM bi.sales").fetchall() == [(3,)]
        reader.execute("REFRESH MATERIALIZED VIEW own.kept")


class WiderStock(tiny.Stock):
    """Stock, with more to say."""

    mart = dataclasses.replace(
        tiny.Stock.mart, columns={**tiny.Stock.mart.columns, "held": Column("Units held back.", "bigint")}
    )
    name = "stock"  # type: ignore[assignment]  # a plain attribute in place of the property


def test_a_mart_gains_a_column_under_readers_who_begin_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read both views in one transaction, in either order, and pause for nothing."""
    put(settings, chunk([0], analysis="stock"), [("a", day(0), 1)])
    given = chunk([0], analysis="stock", fingerprint="e" * 64)
    tiny.install(monkeypatch, WiderStock())
    tiny.write_result(settings, given, [(f"{n:06}", day(0), n, n) for n in range(20_000)])
    begun, published = threading.Barrier(3), threading.Event()

    def read(*views: str) -> None:
        with psycopg.connect(settings.url("owner")) as reader:
            begun.wait()
            while not published.is_set():
                for view in views:
                    reader.execute(f"SELECT sum(on_hand) FROM bi.{view} WHERE resource_id < 'b'")
                reader.commit()

    with ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(read, *views) for views in (("stock", "stock_history"), ("stock_history", "stock"))]
        try:
            begun.wait()
            publish(settings, given, run_id="test")
        finally:
            published.set()
        for reader in reading:
            reader.result()
    assert tiny.query(settings, "SELECT count(held) FROM bi.stock") == [(20_000,)]
    assert tiny.query(settings, "SELECT count(held), count(*) FROM bi.stock_history") == [(20_000, 20_001)]


def test_readers_wait_for_no_rows_of_a_mart_that_gains_a_column(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    tiny.install(monkeypatch, Wider())
    seen = []

    def account(*_: object) -> None:
        with psycopg.connect(settings.url("owner"), options="-c statement_timeout=1s") as reader:
            seen.extend(reader.execute("SELECT * FROM bi.sales").fetchall())
            lock = "SELECT pg_try_advisory_lock(%s, hashtext('sales'))"
            assert reader.execute(lock, [locks.MART_LOCK]).fetchone() == (False,), "nobody publishes beside"
        raise DataError("as if it was killed here")

    with monkeypatch.context() as patch:
        patch.setitem(publish.__globals__, "_account", account)
        with pytest.raises(DataError, match="killed"):
            put(settings, chunk([0], fingerprint="e" * 64), [("LIS", day(0), 3, 2, None)])
    assert seen == [("LIS", day(0), False, 1, None, None)]
    assert tiny.query(settings, "SELECT * FROM bi.sales") == seen
    put(settings, chunk([0], fingerprint="e" * 64), [("LIS", day(0), 3, 2, None)])
    assert tiny.query(settings, "SELECT * FROM bi.sales") == [("LIS", day(0), False, 2, None, 3)]


def test_a_new_mart_is_not_there_before_its_rows(settings: Settings) -> None:
    with pytest.raises(DataError, match="two rows for one key"):
        put(settings, chunk([0], analysis="stock"), [("a", day(0), 1), ("a", day(0), 2)])
    made = "SELECT relname FROM pg_class WHERE relnamespace IN ('marts'::regnamespace, 'bi'::regnamespace)"
    assert tiny.query(settings, made) == []


def test_a_mart_that_is_lost_is_published_again_as_a_whole(settings: Settings) -> None:
    """Whatever of it comes first, its other days are not taken for published."""
    tiny.touch(settings, 1, {0: 1, 3: 1})
    (whole,) = plan(settings, "sales")
    put(settings, whole, [("LIS", day(0), 1, None)])
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("DROP TABLE marts.sales CASCADE")
    assert plan(settings, "sales") == [whole]
    assert [status(settings)[0][name] for name in ("rows", "stale_days", "fresh_through")] == [0, 4, 0]
    put(settings, dataclasses.replace(whole, days=whole.days[2:]), [])
    (rest,) = plan(settings, "sales")
    assert rest.days == (day(0), day(1))


def test_an_index_that_is_lost_is_made_again(settings: Settings) -> None:
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'marts' ORDER BY 1"
    put(settings, chunk([0], analysis="stock"), [("a", day(0), 1)])
    made = tiny.query(settings, indexes)
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("DROP INDEX marts.stock_day, marts.stock_superseded_day")
    put(settings, chunk([1], analysis="stock"), [("a", day(1), 1)])
    assert tiny.query(settings, indexes) == made == [("stock_day",), ("stock_superseded_day",)]
    assert tiny.query(settings, "SELECT count(*) FROM bi.stock") == [(2,)]


def test_a_reader_who_stays_does_not_hold_up_the_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    given = chunk([0], fingerprint="e" * 64)
    tiny.install(monkeypatch, Wider())
    tiny.write_result(settings, given, [("LIS", day(0), 3, 1, None)])
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(settings.url("owner")) as reader:
        reader.execute("SELECT * FROM bi.sales")
        with pytest.raises(ServiceError, match="lock timeout"):
            publish(settings, given, run_id="test")
        assert tiny.query(settings, "SELECT * FROM bi.sales") == [("LIS", day(0), False, 1, None)]
    publish(settings, given, run_id="test")
    assert tiny.query(settings, "SELECT lost FROM bi.sales") == [(3,)]


def test_who_vacuums_a_mart_does_not_hold_up_its_publications(settings: Settings) -> None:
    put(settings, chunk([0], analysis="stock"), [])
    with psycopg.connect(settings.url("owner")) as vacuuming:
        vacuuming.execute("LOCK TABLE marts.stock_superseded IN SHARE UPDATE EXCLUSIVE MODE")
        put(settings, chunk([0], analysis="stock", through=2), [("a", day(0), 1)])
    assert tiny.query(settings, "SELECT resource_id, on_hand FROM bi.stock") == [("a", 1)]


_BROKEN = {
    "removed": {"columns": {"sold": count("Items sold.")}},
    "retyped": {"columns": {**tiny.Sales.mart.columns, "mean": measure("Mean price.", "text")}},
    "grown": {"grain": {**tiny.Sales.mart.grain, "product": key("The product.")}},
    "revised": {"vintage": True},
    "weekly": {"every": Every.WEEK},
}


@pytest.mark.parametrize("change", _BROKEN)
def test_a_breaking_change_wants_a_new_version_beside_the_old(
    change: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, 2.5)])
    changed = dataclasses.replace(tiny.Sales.mart, **_BROKEN[change])
    monkeypatch.setattr(tiny.Sales, "mart", changed)
    values = {"city": "LIS", "search_on": day(0), "sold": 4, "mean": None, "product": "car"}
    row = tuple(values[name] for name in changed.all_columns)
    with pytest.raises(DeclarationError, match=r"analysis sales: .* set version=2"):
        put(settings, chunk([0], through=2), [row])
    monkeypatch.setattr(tiny.Sales, "mart", dataclasses.replace(changed, version=2))
    put(settings, chunk([0], through=2), [row])
    assert tiny.query(settings, "SELECT sold FROM bi.sales_v2") == [(4,)]
    assert tiny.query(settings, SALES) == [("LIS", day(0), 1, 2.5)]


def test_another_output_day_wants_a_new_version(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    grain = {**tiny.Sales.mart.grain, "travel_on": key("Day of travel.", "date")}
    monkeypatch.setattr(tiny.Sales, "mart", dataclasses.replace(tiny.Sales.mart, grain=grain))
    row = ("LIS", day(0), day(9), 1, None)
    put(settings, chunk([0]), [row])
    monkeypatch.setattr(tiny.Sales, "mart", dataclasses.replace(tiny.Sales.mart, day="travel_on"))
    with pytest.raises(DeclarationError, match=r"output day of marts.sales is search_on, not travel_on: set version=2"):
        put(settings, chunk([9], fingerprint="e" * 64), [row])


def test_a_column_may_become_nullable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    with pytest.raises(DataError, match="sold"):
        put(settings, chunk([0]), [("LIS", day(0), None, None)])
    columns = {**tiny.Sales.mart.columns, "sold": Column("Items sold.", "bigint")}
    monkeypatch.setattr(tiny.Sales, "mart", dataclasses.replace(tiny.Sales.mart, columns=columns))
    put(settings, chunk([0]), [("LIS", day(0), None, None)])
    assert tiny.query(settings, SALES) == [("LIS", day(0), None, None)]


def test_bi_reads_views_and_nothing_else(settings: Settings) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    put(settings, chunk([0], analysis="stock"), [("a", day(0), 1)])
    with psycopg.connect(settings.url("owner"), autocommit=True) as connection:
        connection.execute("SET ROLE wayfare_bi")
        for view in ("sales", "stock", "stock_history"):
            assert connection.execute(f"SELECT count(*) FROM bi.{view}").fetchone() == (1,)
        for refused in (
            "SELECT * FROM marts.sales",
            "SELECT * FROM control.publication",
            "SELECT * FROM staging.booking",
            "DELETE FROM bi.sales",
            "CREATE VIEW bi.mine AS SELECT 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


def test_the_pipeline_role_publishes_without_owning_the_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
        owner.execute("CREATE ROLE tiny_pipeline LOGIN PASSWORD 'secret' IN ROLE wayfare_pipeline")
        try:
            place = psycopg.conninfo.conninfo_to_dict(settings.url("owner"))
            url = f"postgresql://tiny_pipeline:secret@{place['host']}:{place['port']}/{place['dbname']}"
            monkeypatch.setenv("WAYFARE_PIPELINE_URL", url)
            put(type(settings)(), chunk([0]), [("LIS", day(0), 1, None)])
            put(type(settings)(), chunk([0], analysis="stock"), [("a", day(0), 1)])
            owner.execute("SET ROLE wayfare_bi")
            assert owner.execute("SELECT sold, is_complete FROM bi.sales").fetchone() == (1, False)
            owner.execute("RESET ROLE")
        finally:
            owner.execute("DROP OWNED BY tiny_pipeline")
            owner.execute("DROP ROLE tiny_pipeline")


def test_a_reader_in_the_middle_of_a_query_does_not_hold_up_a_publication(settings: Settings) -> None:
    put(settings, chunk([0]), [("LIS", day(0), 1, None)])
    with psycopg.connect(settings.url("owner")) as reader:
        reader.execute("SELECT * FROM bi.sales")
        with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
            (database,) = owner.execute("SELECT current_database()").fetchone() or ()
            owner.execute(f"ALTER DATABASE {database} SET lock_timeout = '5s'")
        put(settings, chunk([0], through=2), [("LIS", day(0), 2, None)])
        assert reader.execute("SELECT sold FROM bi.sales").fetchone() == (2,)


def test_publications_of_one_analysis_wait_for_each_other(settings: Settings) -> None:
    rows = 2_000
    chunks = [chunk([0, 1], through=n) for n in range(1, 5)]
    for given in chunks:
        cities = [(f"{n:06}", day(0), given.through_batch, None) for n in range(rows)]
        tiny.write_result(settings, given, cities)
    failures: list[BaseException] = []

    def run(given: Chunk) -> None:
        try:
            publish(settings, given, run_id="test")
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(given,)) for given in chunks]
    with psycopg.connect(settings.url("owner")) as holding:
        holding.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (locks.MART_LOCK, "sales"))
        for thread in threads:
            thread.start()
        _wait_until_blocked(settings, lambda: not any(thread.is_alive() for thread in threads))
        put(settings, chunk([0], analysis="stock", through=4), [("a", day(0), 1)])
        waited = holding.execute("SELECT clock_timestamp()").fetchone() or ()
    for thread in threads:
        thread.join()
    assert failures == []
    assert tiny.query(settings, "SELECT sold, count(*) FROM bi.sales GROUP BY 1") == [(4, rows)]
    assert tiny.query(settings, "SELECT DISTINCT through_batch FROM control.published_day") == [(4,)]
    (published,) = tiny.query(settings, "SELECT min(published_at) FROM control.publication WHERE analysis = 'sales'")
    assert published > waited, "when it was seen, and not when it began to wait"


_PUBLISH = """
    import datetime as dt, sys
    from marts import tiny
    from wayfare.analyses import registry
    from wayfare.analyses.chunk import Chunk
    from wayfare.marts import publish
    from wayfare.settings import get_settings
    registry.analyses()["sales"] = tiny.Sales()
    publish(get_settings(), Chunk("sales", (tiny.day(0), tiny.day(1)), 2, "f" * 64), run_id="killed")
"""


@pytest.mark.parametrize("at", ["marts.sales", "control.published_day", "control.publication"])
def test_a_publication_killed_in_the_middle_leaves_nothing_and_runs_again(at: str, settings: Settings) -> None:
    put(settings, chunk([0, 1]), [("LIS", day(0), 1, None)])
    later = chunk([0, 1], through=2)
    tiny.write_result(settings, later, [(f"{n:06}", day(0), 2, None) for n in range(5_000)])
    with psycopg.connect(settings.url("owner")) as holder:
        # the publication stops where it wants this table, with everything before it done but not committed
        holder.execute(f"LOCK TABLE {at} IN SHARE MODE")
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_PUBLISH)], env=_environment())
        try:
            _wait_until_blocked(settings, lambda: process.poll() is not None)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert tiny.query(settings, SALES) == [("LIS", day(0), 1, None)]
    publish(settings, later, run_id="again")
    assert tiny.query(settings, "SELECT sold, count(*) FROM bi.sales GROUP BY 1") == [(2, 5_000)]
    runs = "SELECT run_id FROM control.publication ORDER BY publication_id"
    assert tiny.query(settings, runs) == [("test",), ("again",)]


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _wait_until_blocked(settings: Settings, ended: Callable[[], object]) -> None:
    blocked = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    while tiny.query(settings, blocked) == [(0,)]:
        assert not ended(), "the publication ended without waiting"
        time.sleep(0.05)
