"""The simulated agency: repeatable, valid, consistent with itself, and with what was planted in it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from wayfare import landing
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ConfigurationError
from wayfare.simulator import BEST_CHANNEL, FULL_FLIGHT, PAIRED, RISKY_PRODUCT, SURGE, TRENDING, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wayfare.settings import Settings

DAYS, LATE, DUPLICATE, BROKEN = 45, 0.04, 0.03, 0.01


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Forty-five days of an agency with 8,000 customers."""
    folder = tmp_path_factory.mktemp("simulated")
    counts = simulate(
        folder, days=DAYS, customers=8_000, seed=7, late_share=LATE, duplicate_share=DUPLICATE, broken_share=BROKEN
    )
    return folder, counts


@pytest.fixture(scope="module")
def events(simulated: tuple[Path, dict[str, int]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A view per event type over the files, each event once, with `delivered` (the file's day)."""
    folder, _ = simulated
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in EVENT_TYPES:
            connection.execute(
                f"CREATE TABLE {name} AS SELECT *, CAST(parse_filename(filename)[:10] AS DATE) AS delivered FROM "
                f"read_parquet('{folder}/*-{name}.parquet', union_by_name = true, filename = true) "
                "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY filename) = 1"
            )
        yield connection


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return connection.sql(sql).fetchall()[0][0]


SIMULATIONS: dict[str, dict[str, Any]] = {"one": {}, "other seed": {"seed": 4}, "bots": {"bots": 3}}
SIMULATIONS |= {"other start": {"start": dt.date(2025, 3, 2)}}


def test_the_same_arguments_write_the_same_bytes_and_others_nothing_of_the_same_id(tmp_path: Path) -> None:
    for name, other in [*SIMULATIONS.items(), ("again", {})]:
        simulate(tmp_path / name, **({"days": 3, "customers": 200, "seed": 3, "broken_share": 0.05} | other))
    assert contents(tmp_path / "one") == contents(tmp_path / "again")

    def shared(kind: str) -> int:
        """How many ids of a kind are in several simulations."""
        files = [f"{tmp_path}/{name}/*.parquet" for name in SIMULATIONS]
        found = f"read_parquet({files}, union_by_name = true, filename = true) WHERE {kind} IS NOT NULL"
        each = f"SELECT {kind} FROM {found} GROUP BY 1 HAVING count(DISTINCT split_part(filename, '/', -2)) > 1"
        return len(duckdb.sql(each))

    happening = ("event_id", "booking_id", "item_id", "search_id", "session_id", "purchase_id")
    assert {kind: shared(kind) for kind in happening} == dict.fromkeys(happening, 0)
    assert shared("customer_id") > 0


@pytest.mark.parametrize(
    "wrong", [{"days": 0}, {"customers": 0}, {"bots": -1}, {"late_share": 1.5}, {"start": dt.date(9998, 12, 31)}]
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        simulate(tmp_path / "x", **({"days": 1, "customers": 1, "seed": 1} | wrong))


def test_everything_but_the_broken_lands(settings: Settings, tmp_path: Path) -> None:
    shares = {"late_share": 0.1, "duplicate_share": 0.05, "broken_share": 0.02}
    arguments: dict[str, Any] = {"days": 7, "customers": 400, "seed": 15, **shares}
    counts = simulate(tmp_path / "parquet", **arguments)
    assert min(counts[name] for name in ("booking", "travel", "cancellation", "broken", "duplicate", "late")) > 0
    events = sum(counts[name] for name in EVENT_TYPES)
    landed = landing.land(settings, sorted(map(str, (tmp_path / "parquet").iterdir())))
    assert (landed.landed, landed.duplicates, landed.conflicts) == (events, counts["duplicate"], 0)
    assert landed.rejected == counts["broken"]

    simulate(tmp_path / "jsonl", form="jsonl", **arguments)
    again = landing.land(settings, sorted(str(f) for f in (tmp_path / "jsonl").glob("*[a-z].jsonl")))
    assert (again.landed, again.duplicates, again.conflicts) == (0, events + counts["duplicate"], 0)


def test_shares_are_as_stated(simulated: tuple[Path, dict[str, int]], events: duckdb.DuckDBPyConnection) -> None:
    folder, counts = simulated
    total = sum(counts[name] for name in EVENT_TYPES)
    assert total == sum(one(events, f"SELECT count(*) FROM {name}") for name in EVENT_TYPES)
    late = sum(one(events, f"SELECT count(*) FROM {n} WHERE delivered > occurred_at::DATE") for n in EVENT_TYPES)
    assert late == counts["late"]
    assert late / total == pytest.approx(LATE, rel=0.15)
    assert counts["duplicate"] / total == pytest.approx(DUPLICATE, rel=0.1)
    broken = b"".join(file.read_bytes() for file in folder.glob("*-broken.jsonl")).splitlines()
    assert len(broken) == counts["broken"]
    assert len(broken) / total == pytest.approx(BROKEN, rel=0.1)


def test_one_destination_trends(events: duckdb.DuckDBPyConnection) -> None:
    day = "occurred_at::DATE - DATE '2025-03-01'"
    start, end = (
        one(events, f"SELECT avg((destination = '{TRENDING}')::INT) FROM search WHERE {day} BETWEEN {n} AND {n} + 6")
        for n in (0, DAYS - 7)
    )
    assert end / start > 2


def test_one_channel_converts_twice_as_well(events: duckdb.DuckDBPyConnection) -> None:
    rates = dict(
        events.sql(
            f"SELECT channel = '{BEST_CHANNEL}', count(DISTINCT b.session_id) / count(DISTINCT s.session_id) "
            "FROM search s LEFT JOIN booking b USING (session_id, channel) GROUP BY ALL"
        ).fetchall()
    )
    assert rates[True] / rates[False] == pytest.approx(2, rel=0.25)


def test_one_product_is_cancelled_twice_as_often_as_flights(events: duckdb.DuckDBPyConnection) -> None:
    rates = dict(
        events.sql(
            "SELECT product, avg((item_id IN (SELECT item_id FROM cancellation WHERE item_id IS NOT NULL) OR "
            "booking_id IN (SELECT booking_id FROM cancellation WHERE item_id IS NULL))::INT) "
            "FROM booking WHERE start_on < DATE '2025-04-14' GROUP BY product"
        ).fetchall()
    )
    assert rates[RISKY_PRODUCT] / rates["flight"] > 1.5


def test_two_ancillaries_sell_together(events: duckdb.DuckDBPyConnection) -> None:
    bag, seat = (
        f"(item_id IN (SELECT item_id FROM purchase WHERE category = '{name}' AND item_id IS NOT NULL))::INT"
        for name in PAIRED
    )
    lift = f"SELECT avg({bag} * {seat}) / (avg({bag}) * avg({seat})) FROM booking WHERE product = 'flight'"
    assert one(events, lift) > 1.2


def test_one_day_brings_far_more_visits(events: duckdb.DuckDBPyConnection) -> None:
    day = f"DATE '2025-03-01' + {DAYS - 1 - SURGE}"
    counts = f"(SELECT count(*) AS n FROM search WHERE occurred_at::DATE IN ({day} - 7, {day} + 7))"
    assert (
        one(events, f"SELECT (SELECT count(*) FROM search WHERE occurred_at::DATE = {day}) / (n / 2) FROM {counts}")
        > 1.8
    )


def test_one_flight_fills_up(events: duckdb.DuckDBPyConnection) -> None:
    loads = dict(
        events.sql(
            f"""
            SELECT resource_id = '{FULL_FLIGHT}', sum(units) / sum(capacity)
            FROM (SELECT resource_id, start_on, sum(units) AS units FROM booking WHERE product = 'flight' GROUP BY ALL)
            JOIN (SELECT DISTINCT resource_id, capacity FROM inventory WHERE sku IS NULL) USING (resource_id)
            WHERE start_on BETWEEN DATE '2025-04-01' AND DATE '2025-04-14' GROUP BY ALL
            """
        ).fetchall()
    )
    assert loads[True] > 0.8
    assert loads[False] < 0.7
    closed = f"SELECT count(*) FROM inventory WHERE resource_id = '{FULL_FLIGHT}' AND sku IS NULL AND NOT is_open"
    assert one(events, closed) > 0


def test_some_meals_run_short(events: duckdb.DuckDBPyConnection) -> None:
    short = one(
        events,
        """
        SELECT avg((on_hand < bought)::INT)
        FROM (SELECT resource_id, service_on, sku, last(on_hand ORDER BY occurred_at) AS on_hand
              FROM inventory WHERE sku IS NOT NULL GROUP BY ALL)
        JOIN (SELECT resource_id, service_on, sku, sum(quantity) AS bought FROM purchase GROUP BY ALL)
        USING (resource_id, service_on, sku)
        """,
    )
    assert 0.03 < short < 0.3


def test_bots_search_at_even_gaps_and_never_buy(
    simulated: tuple[Path, dict[str, int]], events: duckdb.DuckDBPyConnection
) -> None:
    found = events.sql(
        """
        SELECT visitor_id, session_id, count(*), count(DISTINCT gap) FROM (
            SELECT *, epoch(occurred_at - lag(occurred_at) OVER (PARTITION BY session_id ORDER BY occurred_at)) AS gap
            FROM search) GROUP BY ALL HAVING count(*) > 200
        """
    ).fetchall()
    assert {visitor for visitor, *_ in found} == {"bot0", "bot1"}
    assert all(gaps == 1 for *_, gaps in found)
    assert sum(searches for _, _, searches, _ in found) == simulated[1]["bot_searches"]
    assert one(events, "SELECT count(*) FROM booking WHERE visitor_id LIKE 'bot%'") == 0


def test_nothing_is_sold_beyond_capacity(events: duckdb.DuckDBPyConnection) -> None:
    oversold = one(
        events,
        """
        WITH cell AS (
            SELECT resource_id, unnest(generate_series(start_on, CASE WHEN product IN ('hotel', 'car') THEN end_on - 1
                   ELSE start_on END, INTERVAL 1 DAY))::DATE AS service_on, booking_id, item_id, units FROM booking),
        gone AS (
            SELECT item_id, sum(units) AS units FROM cancellation WHERE item_id IS NOT NULL GROUP BY ALL),
        whole AS (SELECT booking_id FROM cancellation WHERE item_id IS NULL)
        SELECT count(*) FROM (
            SELECT resource_id, service_on, sum(c.units - coalesce(g.units, 0)) AS sold
            FROM cell c LEFT JOIN gone g USING (item_id) WHERE booking_id NOT IN (FROM whole) GROUP BY ALL)
        JOIN (SELECT DISTINCT resource_id, capacity FROM inventory WHERE sku IS NULL) USING (resource_id)
        WHERE sold > capacity
        """,
    )
    assert oversold == 0


def test_what_follows_a_sale_agrees_with_it(events: duckdb.DuckDBPyConnection) -> None:
    counts = {
        "refunds beyond the price": "SELECT count(*) FROM (SELECT booking_id, sum(amount) AS paid FROM refund "
        "GROUP BY 1) JOIN (SELECT booking_id, sum(price) AS price FROM booking GROUP BY 1) USING (booking_id) "
        "WHERE paid > price",
        "cancelled beyond the units": "SELECT count(*) FROM (SELECT item_id, sum(units) AS gone FROM cancellation "
        "GROUP BY 1) JOIN booking USING (item_id) WHERE gone > units",
        "travel of what is cancelled": "SELECT count(*) FROM travel WHERE booking_id IN "
        "(SELECT booking_id FROM cancellation WHERE item_id IS NULL)",
        "cancelled before booked": "SELECT count(*) FROM cancellation c JOIN booking b USING (booking_id) "
        "WHERE c.occurred_at < b.occurred_at",
        "a booking without its search": "SELECT count(*) FROM booking b ANTI JOIN search s USING (search_id) "
        "WHERE b.delivered < DATE '2025-04-05'",
        "purchases without a booking": "SELECT count(*) FROM purchase p ANTI JOIN booking b USING (booking_id) "
        "WHERE p.delivered < DATE '2025-04-05'",
    }
    assert {name: one(events, sql) for name, sql in counts.items()} == dict.fromkeys(counts, 0)


def test_regular_customers_come_back(events: duckdb.DuckDBPyConnection) -> None:
    several = "SELECT count(*) FROM (SELECT customer_id FROM booking WHERE customer_id IS NOT NULL GROUP BY 1 {})"
    again = one(events, several.format("HAVING count(DISTINCT booking_id) > 1")) / one(events, several.format(""))
    assert 0.1 < again < 0.8
