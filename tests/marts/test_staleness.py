"""Staleness: exactly the days whose windows were touched, in chunks bounded by rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from sqlalchemy import text

from marts import tiny
from marts.tiny import day
from wayfare.analyses.api import Every, Window
from wayfare.errors import ConfigurationError, DeclarationError, ZoneError
from wayfare.marts import plan, status
from wayfare.marts import publish as publish_result
from wayfare.marts.fingerprint import fingerprint
from wayfare.staging.database import engine
from wayfare.staging.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wayfare.settings import Settings


def declare(
    monkeypatch: pytest.MonkeyPatch, *, before: int = 0, after: int = 0, ahead: bool = False, every: Every = Every.DAY
) -> None:
    """Make Sales, which reads searches and bookings, the only analysis, with this window and period."""
    monkeypatch.setattr(tiny.Sales, "window", Window(before, after))
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, ahead=ahead, every=every))
    tiny.install(monkeypatch, tiny.Sales())


def planned(settings: Settings, **options: object) -> list[int]:
    """Numbers of the stale days."""
    chunks = plan(settings, "sales", **options)  # type: ignore[arg-type]  # passed through by the tests
    return [(d - tiny.START).days for c in chunks for d in c.days]


def publish(settings: Settings, days: Iterable[int], through: int, rows: int = 0) -> None:
    tiny.publish_days(settings, "sales", days, through, fingerprint(settings, tiny.Sales()), rows)


def test_without_events_nothing_is_stale(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch)
    assert plan(settings, "sales") == []
    tiny.touch(settings, 1, {0: 4}, event_type="inventory")
    assert plan(settings, "sales") == []


def test_an_unknown_analysis_is_named(settings: Settings) -> None:
    with pytest.raises(DeclarationError, match="nonesuch"):
        plan(settings, "nonesuch")


def test_days_of_another_zone_are_not_planned(settings: Settings) -> None:
    with pytest.raises(ZoneError, match="set WAYFARE_TIMEZONE=UTC"):
        plan(settings.model_copy(update={"timezone": "Asia/Tokyo"}), "sessions")


def test_bounds_the_wrong_way_round_are_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="swap them"):
        plan(settings, "economic_results", first=day(2), last=day(1))


def test_every_day_between_the_first_and_the_last_event_is_an_output_day(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, before=2, after=7)
    tiny.touch(settings, 1, {0: 1, 3: 1})
    (chunk,) = plan(settings, "sales")
    assert chunk.days == tuple(day(n) for n in range(4))
    assert chunk.through_batch == 1
    assert chunk.fingerprint == fingerprint(settings, tiny.Sales())


def test_service_days_run_ahead_of_the_events(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, before=2, ahead=True)
    tiny.touch(settings, 1, {0: 1, 1: 1})
    assert planned(settings) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("before", "after", "ahead", "expected"),
    [
        (0, 0, False, {10, 20, 29}),
        (0, 2, False, {8, 9, 10, 18, 19, 20, 27, 28, 29}),
        (3, 0, False, {10, 11, 12, 13, 20, 21, 22, 23, 29}),
        (1, 1, False, {9, 10, 11, 19, 20, 21, 28, 29}),
        (3, 0, True, {10, 11, 12, 13, 20, 21, 22, 23, 29, 30, 31, 32}),
        (400, 0, False, set(range(10, 30))),
    ],
)
def test_late_events_of_three_days_redo_exactly_the_days_whose_windows_they_touch(
    *, before: int, after: int, ahead: bool, expected: set[int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, before=before, after=after, ahead=ahead)
    tiny.touch(settings, 1, dict.fromkeys(range(30), 5))
    publish(settings, range(30 + (before if ahead else 0)), through=1)
    assert planned(settings) == []
    tiny.touch(settings, 2, {10: 1, 20: 0, 29: 1})
    tiny.touch(settings, 3, {15: 1}, event_type="inventory")
    assert planned(settings) == sorted(expected)


def test_a_day_without_events_is_redone_once_the_events_have_gone_past_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of a service day still ahead is not what is said of one that is over."""
    declare(monkeypatch, before=2, ahead=True)
    tiny.touch(settings, 1, {0: 1, 1: 1})
    publish(settings, range(4), through=1)
    tiny.touch(settings, 2, {6: 1})
    assert planned(settings) == [2, 3, 4, 5, 6, 7, 8]


def test_a_new_fingerprint_makes_every_day_stale(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch)
    tiny.touch(settings, 1, {0: 1, 1: 1})
    publish(settings, [0, 1], through=1)
    assert planned(settings) == []
    declare(monkeypatch, after=1)
    assert planned(settings) == [0, 1]


def test_a_day_that_is_an_output_day_no_more_is_computed_once_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, before=2, ahead=True)
    tiny.touch(settings, 1, {0: 1, 1: 1})
    publish(settings, range(3), through=1, rows=1)
    publish(settings, [3], through=1)
    declare(monkeypatch, before=2)
    (chunk,) = plan(settings, "sales")
    assert chunk.days == (day(0), day(1), day(2))
    tiny.write_result(settings, chunk, [("LIS", day(2), 1, None)])
    publish_result(settings, chunk, run_id="test")
    assert planned(settings) == []


def test_days_of_a_version_of_days_are_none_of_a_version_of_weeks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every version's days are accounted for under the analysis's name; weeks begin on Mondays."""
    declare(monkeypatch)
    tiny.touch(settings, 1, dict.fromkeys(range(9), 1))
    publish(settings, range(9), through=1, rows=1)
    monkeypatch.setattr(tiny.Sales, "mart", replace(tiny.Sales.mart, every=Every.WEEK, version=2))
    assert planned(settings) == sorted({_begins(n, Every.WEEK) for n in range(9)})
    (chunk,) = plan(settings, "sales")
    tiny.write_result(settings, chunk, [("LIS", chunk.days[0], 1, None)])
    publish_result(settings, chunk, run_id="test")
    assert [(s["rows"], s["last_on"], s["stale_days"]) for s in status(settings)] == [(1, chunk.days[-1], 0)]


def test_bounds_restrict_and_force_adds(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch)
    tiny.touch(settings, 1, dict.fromkeys(range(5), 1))
    assert planned(settings, first=day(1), last=day(3)) == [1, 2, 3]
    publish(settings, range(5), through=1)
    assert planned(settings, first=day(1), last=day(3)) == []
    assert planned(settings, first=day(1), last=day(3), force=True) == [1, 2, 3]
    assert planned(settings, force=True, first=day(-9), last=day(99)) == [0, 1, 2, 3, 4]


_touches = st.lists(
    st.dictionaries(st.integers(0, 14), st.sampled_from(["search", "booking", "inventory"]), max_size=4), max_size=5
)
"""The event type touched on each day, batch by batch."""
_published = st.dictionaries(st.integers(0, 20), st.integers(0, 5))
"""The batch that each published day stands on."""


@given(
    touches=_touches,
    published=_published,
    before=st.integers(0, 4),
    after=st.integers(0, 4),
    ahead=st.booleans(),
    every=st.sampled_from(Every),
    chunk_rows=st.integers(1, 40),
    folded=st.booleans(),
)
@budget(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plan_agrees_with_the_definition(
    *,
    settings: Settings,
    touches: list[dict[int, str]],
    published: dict[int, int],
    before: int,
    after: int,
    ahead: bool,
    every: Every,
    chunk_rows: int,
    folded: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch, engine(settings.url("owner")).begin() as connection:
        for table in ("batch", "change", "published_day"):
            connection.execute(text(f"TRUNCATE control.{table}"))
        connection.commit()
        declare(patch, before=before, after=after, ahead=ahead, every=every)
        changes = []
        for batch, touched in enumerate(touches, 1):
            tiny.touch(settings, batch, {})
            for n, event_type in touched.items():
                tiny.touch(settings, batch, {n: n + 1}, event_type=event_type)
                if event_type != "inventory":
                    changes.append((n, batch, n + 1))
        stands = {_begins(n, every): through for n, through in published.items()}
        for n, through in stands.items():
            publish(settings, [n], through)
        if folded:
            fold(settings.url("pipeline"), dt.datetime.now(dt.UTC))
        chunks = plan(settings.model_copy(update={"chunk_rows": chunk_rows}), "sales")

    read = [n for n, _, _ in changes]
    shown = range(min(read), max(read) + 1 + (before if ahead else 0)) if read else range(0)
    outputs = sorted({_begins(o, every) for o in shown})

    def window(output: int) -> range:
        return range(output - before, (every.last(day(output)) - tiny.START).days + after + 1)

    empty = set(shown) - set(read)
    changed = [(n, batch) for n, batch, _ in changes]
    changed += [(n, min(later)) for n in empty if (later := [batch for m, batch in changed if m > n])]
    stale = [o for o in outputs if o not in stands or any(n in window(o) and batch > stands[o] for n, batch in changed)]
    assert [(d - tiny.START).days for c in chunks for d in c.days] == stale

    fewest = max(1, before + after)
    for c in chunks if every is Every.DAY else ():
        assert c.through_batch == len(touches)
        assert len(c.days) >= min(fewest, len(stale))
        # a tail too short for a chunk of its own joins the last one
        whole = len(c.days) - (fewest - 1 if c is chunks[-1] else 0)
        numbers = [(d - tiny.START).days for d in c.days[:whole]]
        within = {n for o in numbers for n in window(o)}
        assert whole <= fewest or sum(r for n, _, r in changes if n in within) <= chunk_rows


def _begins(n: int, every: Every) -> int:
    """Number of the first day of the period that day `n` is in."""
    return (every.first(day(n)) - tiny.START).days


def test_bounds_take_in_the_period_that_a_day_is_in(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, every=Every.MONTH)
    tiny.touch(settings, 1, {0: 1, 40: 1, 70: 1})
    assert planned(settings) == [0, 31, 61]
    assert planned(settings, first=day(35), last=day(45)) == [31]


def test_a_chunk_of_weeks_is_as_long_as_the_window_not_as_many_weeks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, after=28, every=Every.WEEK)
    tiny.touch(settings, 1, dict.fromkeys(range(1, 85), 100))
    chunks = plan(settings.model_copy(update={"chunk_rows": 400}), "sales")
    assert [len(c.days) for c in chunks] == [4, 4, 4]


@pytest.mark.parametrize(
    ("every", "before", "periods"),
    [(Every.DAY, 0, [366, 366, 268]), (Every.DAY, 400, [400, 600]), (Every.WEEK, 0, [52, 52, 40])],
)
def test_an_event_of_a_wrong_date_makes_days_stale_in_chunks_of_a_year(
    every: Every, before: int, periods: list[int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, before=before, every=every)
    tiny.touch(settings, 1, {0: 1, 999: 1})
    assert [len(c.days) for c in plan(settings, "sales")] == periods


@pytest.mark.parametrize(("before", "days"), [(0, [4, 4, 2]), (1, [4, 3, 3])])
def test_chunks_are_filled_before_the_next_begins(
    before: int, days: list[int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that several of a chunk read counts once."""
    declare(monkeypatch, before=before)
    tiny.touch(settings, 1, dict.fromkeys(range(10), 100))
    chunks = plan(settings.model_copy(update={"chunk_rows": 400}), "sales")
    assert [len(c.days) for c in chunks] == days


def test_a_late_day_in_a_thousand_days_of_history_is_one_chunk(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, before=365)
    publish(settings, [], through=1000)
    with engine(settings.url("owner")).begin() as connection:
        connection.execute(
            text("INSERT INTO control.batch SELECT n, now(), 't', 0, 0, 0, 0 FROM generate_series(1, 1001) n")
        )
        connection.execute(
            text(
                "INSERT INTO control.change SELECT type, CAST(:start AS date) + d, d + 1, 5000 "
                "FROM generate_series(0, 999) AS d, unnest(ARRAY['search', 'booking']) AS type"
            ),
            {"start": tiny.START},
        )
        connection.execute(
            text(
                "INSERT INTO control.published_day SELECT 'sales', CAST(:start AS date) + d, 1, 1000, :f, 1 "
                "FROM generate_series(0, 999) AS d"
            ),
            {"start": tiny.START, "f": fingerprint(settings, tiny.Sales())},
        )
    assert planned(settings) == []
    assert len(planned(settings, force=True)) == 1000
    tiny.touch(settings, 1001, {995: 1})
    (chunk,) = plan(settings, "sales")
    assert chunk.days == tuple(day(n) for n in range(995, 1000))
