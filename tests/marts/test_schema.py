"""What a mart's tables and views say of themselves and of their rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from marts import tiny
from marts.tiny import day
from wayfare.analyses.api import Every
from wayfare.analyses.chunk import Chunk
from wayfare.errors import ConfigurationError, DeclarationError
from wayfare.marts import publish
from wayfare.staging import folding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.settings import Settings


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.install(monkeypatch, tiny.Sales(), tiny.Stock())


def put(
    settings: Settings, analysis: str, days: Sequence[int], rows: Sequence[tuple[object, ...]], *, through: int = 1
) -> None:
    chunk = Chunk(analysis, tuple(day(n) for n in days), through, "f" * 64)
    tiny.write_result(settings, chunk, rows)
    publish(settings, chunk, run_id="test")


def test_a_row_is_complete_when_its_window_is_past(settings: Settings) -> None:
    tiny.touch(settings, 1, {0: 1, 2: 1})
    put(settings, "sales", [0, 1, 2], [("LIS", day(n), 1, None) for n in range(3)])
    complete = "SELECT search_on, is_complete FROM bi.sales ORDER BY 1"
    assert tiny.query(settings, complete) == [(day(0), False), (day(1), False), (day(2), False)]
    tiny.touch(settings, 2, {3: 1}, event_type="search")
    tiny.touch(settings, 3, {9: 1}, event_type="inventory")
    assert tiny.query(settings, complete)[0] == (day(0), False), "that day 3 may have changed day 1 is not computed yet"
    put(settings, "sales", [1], [("LIS", day(1), 1, None)], through=3)
    assert tiny.query(settings, complete)[0] == (day(0), False), "nor is day 2, the latest there is"
    put(settings, "sales", [2, 3], [("LIS", day(2), 1, None)], through=3)
    tiny.touch(settings, 4, {3: 1}, event_type="search")
    folding.fold(settings.url("owner"), dt.datetime.now(dt.UTC) + dt.timedelta(1))
    assert tiny.query(settings, complete) == [(day(0), True), (day(1), False), (day(2), False)]


def test_a_day_that_was_published_further_ahead_once_holds_no_row_back(settings: Settings) -> None:
    """A service day is published days before anything happens on it, and stays so when the window becomes shorter."""
    tiny.touch(settings, 1, {0: 1}, event_type="inventory")
    put(settings, "stock", range(10), [("a", day(n), 1) for n in range(4)])
    tiny.touch(settings, 2, {1: 1}, event_type="inventory")
    complete = "SELECT service_on FROM bi.stock WHERE is_complete"
    assert tiny.query(settings, complete) == []
    put(settings, "stock", range(1, 5), [("a", day(n), 1) for n in range(1, 5)], through=2)
    assert tiny.query(settings, complete) == [(day(0),)]


def test_a_week_is_complete_when_the_window_of_its_last_day_is_past(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the week from day 1 to day 7, the last day that is read is day 9."""
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, every=Every.WEEK))
    for batch, (on, is_complete) in enumerate([(9, False), (10, True)], 1):
        tiny.touch(settings, batch, {on: 1})
        put(settings, "sales", [8], [], through=batch)
        put(settings, "sales", [1], [("LIS", day(1), 1, None)])
        assert tiny.query(settings, "SELECT is_complete FROM bi.sales") == [(is_complete,)]


@pytest.mark.parametrize("vintage", [False, True])
def test_to_become_a_vintage_or_cease_to_be_one_wants_a_new_version(
    vintage: bool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, vintage=not vintage))
    put(settings, "sales", [0], [])
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, vintage=vintage))
    with pytest.raises(DeclarationError, match=r"its mart became a vintage, or ceased to be one, .* set version=2"):
        put(settings, "sales", [0], [])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("TABLE marts.sales (city text, search_on date)", "marts.sales exists without its index sales_day"),
        ("VIEW bi.sales AS SELECT 1 AS one", "bi.sales exists and is not Wayfare's view .* name of view column"),
        ("TABLE bi.sales (one int)", 'bi.sales exists and is not Wayfare\'s view .*"sales" is not a view'),
    ],
)
def test_what_somebody_made_by_hand_is_not_taken_for_the_mart(made: str, said: str, settings: Settings) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(f"CREATE {made}")
    with pytest.raises(ConfigurationError, match=said):
        put(settings, "sales", [0], [])


def test_every_table_view_and_column_is_described(settings: Settings) -> None:
    put(settings, "sales", [0], [])
    put(settings, "stock", [0], [])
    described = """
        SELECT nspname || '.' || relname, coalesce(attname, ''), col_description(c.oid, coalesce(attnum, 0)),
          obj_description(c.oid, 'pg_class')
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace AND nspname IN ('marts', 'bi')
        LEFT JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
        WHERE relkind IN ('r', 'v')
    """
    found = {(relation, column): text for relation, column, text, _ in tiny.query(settings, described)}
    assert {relation for relation, _ in found} == {
        "marts.sales",
        "bi.sales",
        "marts.stock",
        "marts.stock_superseded",
        "bi.stock",
        "bi.stock_history",
    }
    assert all(found.values()), found
    assert found["bi.sales", "sold"] == "Items sold. (additive)"
    assert found["bi.stock", "on_hand"] == "What is there. (semi-additive: never summed over time)"
    assert {text for *_, text in tiny.query(settings, described)} == {
        "How many were sold, and what's the mean price?",
        "How many were sold, and what's the mean price? The reporting currency is EUR.",
        "How much is there?",
        "How much is there? The reporting currency is EUR.",
        "How much is there? Every row as it was ever published, in the reporting currency of that time; now it is EUR.",
    }
