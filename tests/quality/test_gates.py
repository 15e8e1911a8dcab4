"""Both gates on real day files and real results."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import pytest

from quality.selling import DAY, DEAR, DEAR_RULE, Sold, bookings, broken, chunk_of, result, rewrite, rows, staged
from snapshots.staged_events import event, stage
from wayfare import engines, marts, quality, snapshots, storage
from wayfare.analyses import registry
from wayfare.analyses.api import Additivity, Column, Every, Expect, Mart, count, key, measure
from wayfare.analyses.chunk import Chunk
from wayfare.analyses.economic_results import EconomicResults
from wayfare.analyses.sales import LONGEST_LEAD, SOLD_IN_TIME
from wayfare.errors import DeclarationError, GateError
from wayfare.quality.output import _total
from wayfare.quality.suites import no_rows

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs
    from wayfare.settings import Settings

pytestmark = pytest.mark.usefixtures("sold")
QUERY = "unexpected_rows_query"


def allowing(settings: Settings, share: float) -> Settings:
    return settings.model_copy(update={"quarantine_share": share})


def test_every_breaking_event_is_set_aside_and_the_rest_goes_on(anywhere: Settings) -> None:
    settings = allowing(anywhere, 0.5)
    dear = bookings([5000] * 250)
    chunk = staged(settings, [*bookings([100] * 260), *dear])
    summary = quality.validate(settings, chunk)
    assert (summary["rows"], summary["quarantined"]) == (510, 250)

    ids = {row["event_id"] for _, row in dear}
    with engines.session(settings) as connection:
        file = connection.read_parquet(chunk.quarantine(settings.storage))
        assert [(n, str(t)) for n, t in zip(file.columns, file.types, strict=True)] == [
            ("event_type", "VARCHAR"),
            ("event_id", "UUID"),
            ("rule", "VARCHAR"),
        ]
        assert set(file.fetchall()) == {("booking", event_id, DEAR_RULE) for event_id in ids}
    kept = rows(
        settings, "SELECT analysis, event_type, event_on, event_id, rule, through_batch FROM control.quarantine"
    )
    assert sorted(kept) == sorted(("sold", "booking", DAY, event_id, DEAR_RULE, 1) for event_id in ids)

    engines.analyze(settings, chunk)
    assert quality.audit(settings, chunk)["rows"] == 1
    assert result(settings, chunk) == [(DAY, "hotel", 260, 26_000)]


def test_past_the_allowed_share_the_input_is_refused(anywhere: Settings) -> None:
    settings = anywhere
    chunk = staged(settings, [*bookings([100] * 18), *(dear := bookings([5000, 6000]))])
    with pytest.raises(GateError) as refusal:
        quality.validate(settings, chunk)
    message = str(refusal.value)
    for part in ("analysis sold", "2 of 20 events", "5.00%", DEAR_RULE, *(str(row["event_id"]) for _, row in dear)):
        assert part in message
    (page,) = [line.removeprefix("All verdicts: ") for line in message.splitlines() if line.startswith("All verdicts")]
    assert "booking" in storage.read_text(page)
    assert storage.exists(page.replace("index.html", "refused")), "so that it is kept"
    assert len(rows(settings, "SELECT * FROM control.quarantine")) == 2
    assert [(gate, severity) for gate, severity, _ in broken(settings)] == [("input", "critical")]


def test_at_the_allowed_share_it_is_not_and_what_breaks_two_rules_is_one_event(settings: Settings, sold: Sold) -> None:
    sold.expect_input = {"booking": (DEAR, Expect(DEAR.expectation, {"column": "price", "max_value": 2000}))}
    chunk = staged(settings, [*bookings([100] * 18), *bookings([5000, 6000])])
    assert quality.validate(allowing(settings, 0.1), chunk)["quarantined"] == 2


def test_a_warning_is_recorded_and_stops_nothing(settings: Settings, sold: Sold) -> None:
    cheap = Expect("ExpectColumnValuesToBeBetween", {"column": "price", "min_value": 50}, "warning")
    sold.expect_input = {"booking": (cheap,)}
    chunk = staged(settings, bookings([100, 1, 2]))
    summary = quality.validate(settings, chunk)
    assert (summary["warnings"], summary["quarantined"]) == (1, 0)
    query = "SELECT asset, field, rows, unexpected, observed FROM control.validation WHERE unexpected > 0"
    found = rows(settings, query)
    assert found == [("booking", "price", 3, 2, "[1, 2]")]


def test_what_is_sold_long_before_is_told_and_not_set_aside(settings: Settings, sold: Sold) -> None:
    sold.expect_input = {"booking": (SOLD_IN_TIME,)}
    chunk = staged(settings, bookings([100], start_on=DAY + dt.timedelta(LONGEST_LEAD + 1)))
    summary = quality.validate(settings, chunk)
    assert (summary["warnings"], summary["quarantined"]) == (1, 0)


def test_a_size_that_is_an_error_is_set_aside_with_what_takes_it_back(settings: Settings) -> None:
    """In minor units of a rial, 10**12 is a trip for a few people; who cancels all that is left may say any number."""
    dear = bookings([12 * 10**11, 10**13, -(10**13), 2**53, -(2**53)], currency="IRR", units=100_000)
    many = event("booking", f"{DAY}", booking_id="many", units=2**31 - 1)
    meals = event("purchase", f"{DAY}", booking_id="many", quantity=100_001)
    gone = [event("cancellation", f"{DAY}", booking_id=row["booking_id"], units=2**31 - 1) for _, row in (*dear, many)]
    chunk = Chunk("economic_results", (DAY,), 1, "0123456789")
    staged(settings, [*dear, many, meals, *gone], chunk)
    assert quality.validate(allowing(settings, 1), chunk)["quarantined"] == 2 + 2 + 3
    engines.analyze(settings, chunk)
    quality.audit(settings, chunk)
    (row,) = result(settings, chunk)
    net = list(EconomicResults.mart.all_columns).index("net_minor")
    assert row[net] == 0


def test_running_again_replaces_what_was_written(settings: Settings, sold: Sold) -> None:
    settings = allowing(settings, 1)
    chunk = staged(settings, bookings([100, 5000, 6000]))
    first = quality.validate(settings, chunk)
    verdicts = rows(settings, "SELECT count(*) FROM control.validation")
    assert quality.validate(settings, chunk) == first
    assert rows(settings, "SELECT count(*) FROM control.validation") == verdicts
    assert len(rows(settings, "SELECT * FROM control.quarantine")) == 2
    sold.expect_input = {}
    assert quality.validate(settings, chunk)["quarantined"] == 0
    assert rows(settings, "SELECT * FROM control.quarantine") == []
    engines.analyze(settings, chunk)
    assert result(settings, chunk) == [(DAY, "hotel", 3, 11_100)]


def test_chunks_that_read_the_same_day_keep_one_quarantine(settings: Settings) -> None:
    settings = allowing(settings, 1)
    following = DAY + dt.timedelta(1)
    staged(settings, [*bookings([5000]), *bookings([6000], following)], chunk_of(DAY, following))
    for day in (DAY, following, DAY):
        quality.validate(settings, chunk_of(day))
    assert len(rows(settings, "SELECT * FROM control.quarantine")) == 2


def test_no_input_at_all_is_fine(settings: Settings, sold: Sold) -> None:
    at_least_one = Expect("ExpectColumnMeanToBeBetween", {"column": "items", "min_value": 1})
    sold.expect_output = (at_least_one,)
    chunk = chunk_of()
    summary = quality.validate(settings, chunk)
    assert (summary["rows"], summary["quarantined"], summary["warnings"]) == (0, 0, 0)
    engines.analyze(settings, chunk)
    assert quality.audit(settings, chunk)["rows"] == 0


def test_test_events_are_not_judged(settings: Settings) -> None:
    tried = bookings([5000], is_test=True, item_id="t")
    gone = event("cancellation", "2026-06-01T10:00", booking_id="B0", item_id="t")
    chunk = staged(settings, [*bookings([100]), *bookings([100], is_test=None, item_id="n"), *tried, gone])
    summary = quality.validate(settings, chunk)
    assert (summary["rows"], summary["quarantined"]) == (2, 0)


def test_a_row_condition_bounds_what_is_set_aside(settings: Settings, sold: Sold) -> None:
    only_cars = {**DEAR.arguments, "row_condition": 'col("product") == "car"', "condition_parser": "great_expectations"}
    sold.expect_input = {"booking": (Expect(DEAR.expectation, only_cars),)}
    cars = bookings([5000, 100], product="car")
    chunk = staged(settings, [*bookings([5000] * 3), *cars])
    assert quality.validate(allowing(settings, 1), chunk)["quarantined"] == 1
    assert rows(settings, "SELECT event_id FROM control.quarantine") == [(cars[0][1]["event_id"],)]


def test_a_query_that_names_events_sets_them_aside(settings: Settings, sold: Sold) -> None:
    query = "SELECT event_id FROM {batch} WHERE price > 10 * units"
    sold.expect_input = {"booking": (Expect("UnexpectedRowsExpectation", {QUERY: query, "description": "cheap"}),)}
    chunk = staged(settings, [*bookings([100], units=2), *bookings([5], units=1)])
    assert quality.validate(allowing(settings, 1), chunk)["quarantined"] == 1
    assert rows(settings, "SELECT rule FROM control.quarantine") == [("cheap",)]


@pytest.mark.parametrize(
    "about_all",
    [
        Expect("UnexpectedRowsExpectation", {QUERY: "SELECT count(*) FROM {batch} HAVING count(*) < 9"}),
        Expect("ExpectColumnValuesToBeUnique", {"column": "resource_id"}),
        Expect("ExpectColumnMeanToBeBetween", {"column": "price", "max_value": 10}),
    ],
)
def test_a_critical_rule_about_the_whole_refuses(settings: Settings, sold: Sold, about_all: Expect) -> None:
    sold.expect_input = {"booking": (about_all,)}
    chunk = staged(settings, bookings([100, 200]))
    with pytest.raises(GateError, match=f"booking: {about_all.expectation}"):
        quality.validate(settings, chunk)
    assert rows(settings, "SELECT * FROM control.quarantine") == []


def test_a_missing_day_file_is_refused(anywhere: Settings) -> None:
    settings = anywhere
    chunk = staged(settings, bookings([100]))
    (url,) = snapshots.paths(settings, chunk)["booking"]
    fs, path = storage.filesystem(url)
    fs.rm_file(path)
    with pytest.raises(GateError, match=rf"1 of 1 day files are missing, first {url}; run extract"):
        quality.validate(settings, chunk)


def test_a_day_file_that_lost_events_is_refused(settings: Settings) -> None:
    chunk = staged(settings, bookings([100] * 5))
    (url,) = snapshots.paths(settings, chunk)["booking"]
    rewrite(url, "FROM file LIMIT 4")
    with pytest.raises(
        GateError, match=r"as many events as the change log says(.|\n)*What to do: remove the folder `sna"
    ):
        quality.validate(settings, chunk)


def test_a_day_file_older_than_an_optional_field_is_fine(settings: Settings) -> None:
    chunk = staged(settings, bookings([100] * 5))
    (url,) = snapshots.paths(settings, chunk)["booking"]
    rewrite(url, "SELECT * EXCLUDE (cost, cabin) FROM file")
    assert quality.validate(settings, chunk)["rows"] == 5


def test_an_unusual_volume_is_a_warning(settings: Settings, sold: Sold) -> None:
    """Too few, and too many after the fewest weeks that say what is usual; neither by the mean, nor on days to come."""
    sold.mart = replace(Sold.mart, every=Every.WEEK)  # type: ignore[misc]  # of this one instance
    weeks = [DAY - dt.timedelta(weeks=n) for n in range(7)]
    counts = [3, 2, 25, 8, 8, 8, 8]
    mondays = [e for n, day in zip(counts, weeks, strict=True) for e in bookings([100] * n, day)]
    stage(settings, 1, [*mondays, *(e for day in weeks[1:] for e in bookings([100], day + dt.timedelta(1)))])
    for day, warnings in zip(weeks[:3], (0, 1, 1), strict=True):
        chunk = chunk_of(day)
        snapshots.extract(settings, chunk)
        assert quality.validate(settings, chunk)["warnings"] == warnings
    assert ["usually" in message for _, _, message in broken(settings)] == [True, True]


def test_events_of_several_sales_count_once(settings: Settings) -> None:
    both = [*bookings([100], item_id="1"), *bookings([100], item_id="2")]
    chunk = staged(settings, [*both, event("cancellation", "2026-06-01T10:00", booking_id="B0", units=2)])
    assert quality.validate(settings, chunk)["rows"] == 3


TAMPERED = {
    "FROM file UNION ALL SELECT * REPLACE (0 AS items, 0 AS price_minor) FROM file": "the grain is a key",
    "SELECT * REPLACE (items + 1 AS items) FROM file": "items adds up to its total",
    "SELECT * REPLACE (price_minor - 1 AS price_minor) FROM file": "price_minor adds up to its total",
    "SELECT * REPLACE (sold_on + 1 AS sold_on) FROM file": "every day is one that was asked for",
    "SELECT * REPLACE (NULL::bigint AS price_minor) FROM file": "ExpectColumnValuesToNotBeNull(column=price_minor)",
    "SELECT product, sold_on, items, price_minor FROM file": "ExpectTableColumnsToMatchOrderedList",
    "SELECT * REPLACE (items + 2 AS items) FROM file": "ExpectColumnValuesToBeBetween(column=items, max_value=3)",
    "FROM file WHERE false": "items adds up to its total",
}


def test_a_result_that_is_not_right_is_refused(settings: Settings, sold: Sold) -> None:
    sold.expect_output = (Expect(DEAR.expectation, {"column": "items", "max_value": 3}),)
    chunk = staged(settings, bookings([0, 0]))
    quality.validate(settings, chunk)
    for tampered, says in TAMPERED.items():
        engines.analyze(settings, chunk)
        rewrite(chunk.result(settings.storage), tampered)
        with pytest.raises(GateError) as refusal:
            quality.audit(settings, chunk)
        assert says in str(refusal.value)
        assert "the result is refused, nothing was published" in str(refusal.value)
        assert says in "".join(message for gate, _, message in broken(settings) if gate == "output")


def test_a_day_without_rows_is_a_warning(settings: Settings, sold: Sold) -> None:
    following = DAY + dt.timedelta(1)
    chunk = staged(settings, [*bookings([0], following), *bookings([100])], chunk_of(DAY, following))
    quality.validate(settings, chunk)
    engines.analyze(settings, chunk)
    sold.totals = lambda given: given["booking"].select(price_minor=nw.col("price").sum())  # type: ignore[method-assign]  # the lost day brought none
    rewrite(chunk.result(settings.storage), f"FROM file WHERE sold_on = DATE '{DAY}'")
    assert quality.audit(settings, chunk)["warnings"] == 1
    ((_, _, message),) = [b for b in broken(settings) if b[0] == "output"]
    assert "a day with booking events has rows" in message


def test_what_totals_gets_wrong_is_told(settings: Settings, sold: Sold) -> None:
    chunk = staged(settings, bookings([100]))
    engines.analyze(settings, chunk)
    wrong: dict[str, Any] = {
        "totals returns NoneType; end it with `return`": lambda _: None,
        'totals asks for what is not there: .*"unit"': lambda given: given["booking"].select(
            items=nw.col("unit").sum()
        ),
        "totals has 33.3.* for price_minor, which is bigint; a total": lambda given: given["booking"].select(
            price_minor=nw.col("price").sum() / 3
        ),
        "totals has nan for items, which is bigint; a total": lambda given: given["booking"].select(
            items=nw.lit(math.nan)
        ),
        "totals has '.*' for price_minor, which is bigint; a total": lambda given: given["booking"].select(
            price_minor=nw.col("booking_id").max()
        ),
        r"totals has .*date\(2026, 6, 1\) for seen_on, which is date; a total": lambda given: given["booking"].select(
            seen_on=nw.col("event_on").max()
        ),
    }
    seen = {**Sold.mart.columns, "seen_on": measure("The last day.", "date")}
    sold.mart = replace(Sold.mart, columns=seen)  # type: ignore[misc]  # of this one instance
    for said, totals in wrong.items():
        sold.totals = totals  # type: ignore[method-assign]
        with pytest.raises(DeclarationError, match=f"analysis sold: {said}"):
            quality.audit(settings, chunk)


class Order(Sold):
    """What if it is called as SQL's own words are?"""

    mart = Mart(day="end", grain={"end": key("The day.", "date")}, columns={"group": count("Items sold.")})
    expect_output = (no_rows("a day is there", "*", 'WHERE "end" IS NULL'),)

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        return given["booking"].group_by(nw.col("event_on").alias("end")).agg(group=nw.len())

    def totals(self, given: Inputs) -> nw.LazyFrame[Any]:
        return given["booking"].select(group=nw.len())


def test_names_may_be_words_of_sql(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.analyses(), "order", Order())
    chunk = staged(settings, bookings([100]), Chunk("order", (DAY,), 1, "0123456789"))
    engines.analyze(settings, chunk)
    assert quality.audit(settings, chunk)["rows"] == 1
    marts.publish(settings, chunk, run_id="test")
    assert rows(settings, 'SELECT "end", "group" FROM bi."order"') == [(DAY, 1)]


WEIGHT = Mart("end", {}, {"weight": Column("Weight.", "double precision", Additivity.ADDITIVE)})


@pytest.mark.parametrize(
    ("published", "total", "adds_up"),
    [
        *((1.5, 1.5 + 1e-12, True), (1.5, 1.5 + 1e-6, False), (math.inf, math.inf, True), (math.nan, math.nan, True)),
        *((1.5, math.inf, False), (math.inf, 1.5, False), (math.inf, -math.inf, False), (1.5, math.nan, False)),
    ],
)
def test_totals_of_floats(published: float, total: float, adds_up: bool) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE result AS SELECT CAST(? AS DOUBLE) AS weight", [published])
        query = _total(WEIGHT, "weight", total).arguments[QUERY].format(batch="result")
        assert (connection.execute(query).fetchall() == []) is adds_up


def test_no_result_to_audit(anywhere: Settings) -> None:
    with pytest.raises(GateError, match="run analyze for this chunk first"):
        quality.audit(anywhere, chunk_of())
