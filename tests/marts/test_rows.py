"""Rows of a result against rows that stand: the mart says what the last result says, and what did not change stays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as trying

from marts import tiny
from marts.tiny import day
from wayfare import marts
from wayfare.analyses.api import key
from wayfare.analyses.chunk import Chunk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wayfare.settings import Settings

PLACES = "SELECT city, search_on, ctid::text, xmin::text FROM marts.sales"


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.install(monkeypatch, tiny.Sales(), tiny.Stock())


def put(
    settings: Settings, analysis: str, through: int, rows: Sequence[tuple[object, ...]], fingerprint: str = "f" * 64
) -> None:
    chunk = Chunk(analysis, (day(0), day(1), day(3)), through, fingerprint)
    tiny.write_result(settings, chunk, rows)
    marts.publish(settings, chunk, run_id="test")


def _kept(before: list[tuple[object, ...]], after: list[tuple[object, ...]]) -> set[object]:
    return {city for city, *_ in set(before) & set(after)}


def test_late_events_leave_the_rows_of_a_restated_mart_that_they_do_not_change(settings: Settings) -> None:
    same = [("O'Hare", day(0), 1, None), ('é\n"', day(1), 2, 0.1), ("nan", day(3), 3, math.nan)]
    put(settings, "sales", 1, [*same, ("gone", day(0), 4, 1.0), ("less", day(0), 5, 1.0), ("more", day(1), 6, None)])
    before = tiny.query(settings, PLACES)
    put(settings, "sales", 2, [*same, ("less", day(0), 5, None), ("more", day(1), 6, 1.0), ("new", day(3), 7, None)])
    after = tiny.query(settings, PLACES)
    assert _kept(before, after) == {"O'Hare", 'é\n"', "nan"}
    stands = tiny.query(settings, "SELECT city, sold, mean::text FROM bi.sales ORDER BY sold")
    assert stands == [
        *(("O'Hare", 1, None), ('é\n"', 2, "0.1"), ("nan", 3, "NaN")),
        *(("less", 5, None), ("more", 6, "1"), ("new", 7, None)),
    ]
    assert tiny.query(settings, "SELECT DISTINCT through_batch FROM control.published_day") == [(2,)]


def test_a_changed_analysis_replaces_whole_days(settings: Settings) -> None:
    put(settings, "sales", 1, [("LIS", day(0), 1, None)])
    before = tiny.query(settings, PLACES)
    put(settings, "sales", 1, [("LIS", day(0), 1, None), ("OPO", day(0), 2, None)], fingerprint="e" * 64)
    assert _kept(before, tiny.query(settings, PLACES)) == set()
    assert tiny.query(settings, "SELECT city, sold FROM bi.sales ORDER BY 1") == [("LIS", 1), ("OPO", 2)]


def test_a_changed_analysis_closes_whole_days_of_a_vintage(settings: Settings) -> None:
    put(settings, "stock", 1, [("a", day(0), 1), ("b", day(0), 2)])
    put(settings, "stock", 1, [("a", day(0), 1), ("c", day(3), 3)], fingerprint="e" * 64)
    stands = "SELECT resource_id, on_hand, published_in FROM marts.stock ORDER BY 1"
    assert tiny.query(settings, stands) == [("a", 1, 2), ("c", 3, 2)]
    closed = "SELECT resource_id, on_hand, published_in, superseded_in FROM marts.stock_superseded ORDER BY 1"
    assert tiny.query(settings, closed) == [("a", 1, 1, 2), ("b", 2, 1, 2)]


def test_a_column_may_be_called_as_the_place_of_a_row(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    grain = {"place": key("The place."), "search_on": tiny.Sales.mart.grain["search_on"]}
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, grain=grain))
    put(settings, "sales", 1, [("LIS", day(0), 1, None), ("OPO", day(0), 2, None)])
    put(settings, "sales", 2, [("LIS", day(0), 1, None), ("OPO", day(0), 3, None)])
    assert tiny.query(settings, "SELECT place, sold FROM bi.sales ORDER BY 1") == [("LIS", 1), ("OPO", 3)]


@pytest.mark.parametrize("analysis", ["sales", "stock"])
def test_more_changes_than_are_taken_at_once(
    analysis: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marts.rows, "ROWS_AT_ONCE", 1_000)
    many = 5_003
    rest = (None,) if analysis == "sales" else ()
    kept = [("kept", day(1), 0, *rest)]
    put(settings, analysis, 1, [*((f"{n:09}", day(0), n, *rest) for n in range(many)), *kept])
    put(settings, analysis, 2, [*((f"{n:09}", day(0), n + 1, *rest) for n in range(1, many)), *kept])
    number = "sold" if analysis == "sales" else "on_hand"
    stands = f"SELECT count(*), sum({number}), min({number}) FROM bi.{analysis}"
    assert tiny.query(settings, stands) == [(many, many * (many + 1) // 2 - 1, 0)]
    if analysis == "stock":
        closed = "SELECT count(*), sum(on_hand), max(superseded_in) FROM marts.stock_superseded"
        assert tiny.query(settings, closed) == [(many, many * (many - 1) // 2, 2)]
    for table in ("stock", "stock_superseded") if analysis == "stock" else ("sales",):
        left = f"SELECT brin_summarize_new_values('marts.{table}_day')"
        assert tiny.query(settings, left) == [(0,)], "pages that the index does not know are read for every day"


_results = strategies.dictionaries(
    strategies.tuples(strategies.sampled_from(["a", "b", "c"]), strategies.sampled_from([day(0), day(1), day(3)])),
    strategies.integers(0, 2),
)


@trying(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results=strategies.lists(_results, min_size=2, max_size=3))
def test_whatever_was_published_before_the_last_result_stands(
    results: list[Mapping[tuple[str, object], int]], settings: Settings
) -> None:
    """And the history of a vintage has every result as it was."""
    said: dict[int, list[tuple[object, ...]]] = {}
    for result in results:
        rows = sorted((name, on, units) for (name, on), units in result.items())
        put(settings, "sales", 1, [(*row, None) for row in rows])
        put(settings, "stock", 1, rows)
        ((publication,),) = tiny.query(settings, "SELECT max(publication_id) FROM control.publication")
        said[publication] = rows
    assert tiny.query(settings, "SELECT * FROM marts.sales ORDER BY 1, 2") == [(*row, None) for row in rows]
    assert tiny.query(settings, "SELECT count(*) FROM bi.stock") == [(len(rows),)]
    for publication, rows in said.items():
        columns, published = "resource_id, service_on, on_hand", f"published_in <= {publication}"
        then = f"""
            SELECT {columns} FROM marts.stock WHERE {published}
            UNION ALL SELECT {columns} FROM marts.stock_superseded WHERE {published} AND superseded_in > {publication}
            ORDER BY 1, 2
        """
        assert tiny.query(settings, then) == rows
