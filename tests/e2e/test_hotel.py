"""Real bookings of a resort hotel, through a mapping, to the published marts: every known figure, to the cent.

The figures are those of Antonio, de Almeida & Nunes, Data in Brief 22 (2019), counted over the resort hotel's rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psycopg
import pytest

from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from wayfare.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
MAPPING = PROJECT / "include" / "wayfare" / "mappings" / "hotel_bookings.toml"


def wayfare(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from wayfare.cli import main; main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def query(settings: Settings, statement: str) -> tuple[Any, ...]:
    with psycopg.connect(settings.url("owner")) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row


@pytest.fixture(scope="module")
def hotel(
    fresh_installation: Callable[[], AbstractContextManager[Settings]], shared_data: Path
) -> Iterator[tuple[Settings, Path]]:
    """An installation that the bookings were imported into, twice, and their file."""
    data = shared_data / "hotel_bookings_resort.csv.gz"
    with fresh_installation() as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT / "include"))
        done = wayfare("import", "--mapping", str(MAPPING), "--json", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        landed = json.loads(done.stdout)
        assert (landed["duplicates"], landed["conflicts"], landed["rejected"]) == (0, 0, 0)
        again = json.loads(wayfare("import", "--mapping", str(MAPPING), "--json", str(data)).stdout)
        assert (again["landed"], again["duplicates"]) == (0, landed["landed"])
        yield settings, data


def test_every_known_figure_comes_out(hotel: tuple[Settings, Path]) -> None:
    settings, _ = hotel
    assert list(bring_up_to_date(settings, "economic_results"))
    sums = query(
        settings,
        "SELECT sum(bookings), sum(cancelled_items), sum(no_show_items), sum(completed_items), sum(completed_minor),"
        " sum(lead_time_days), sum(price_per_night_minor) FROM bi.economic_results WHERE line = 'product'",
    )
    bookings, cancelled, no_shows, completed, completed_minor, lead_days, rates_minor = map(int, sums)
    assert bookings == 40_060
    assert (cancelled, no_shows, completed) == (10_831, 291, 28_938)
    assert round(100 * (cancelled + no_shows) / bookings, 4) == 27.7634
    assert completed_minor == 1_160_185_023
    assert round(lead_days / bookings, 4) == 92.6757
    assert round(rates_minor / bookings / 100, 5) == 94.95293
    assert query(settings, "SELECT count(*) FROM staging.booking WHERE price < 0") == (1,)
    assert query(settings, "SELECT count(*) FROM staging.booking WHERE point_of_sale IS NULL") == (464,)
    assert query(
        settings,
        "SELECT count(*) FROM staging.booking WHERE adults + coalesce(children, 0) + coalesce(infants, 0) = 0",
    ) == (13,)
    assert not list(bring_up_to_date(settings, "economic_results")), "nothing is stale after a publication"


def test_ancillaries_attach_as_pandas_counts_them(hotel: tuple[Settings, Path]) -> None:
    settings, data = hotel
    stays = pd.read_csv(data).query("reservation_status != 'Canceled'").fillna({"children": 0})
    first = stays["arrival_date_year"].astype(str) + " " + stays["arrival_date_month"]
    stays["month"] = pd.to_datetime(first, format="%Y %B").dt.date
    stays["guests"] = stays[["adults", "children", "babies"]].sum(axis=1).astype(int)
    stays["meal"] = stays["meal"].isin(["BB", "HB", "FB"]).astype(int)
    stays["parking"] = stays["required_car_parking_spaces"]
    stays["parked_with_meal"] = ((stays["meal"] > 0) & (stays["parking"] > 0)).astype(int)
    stays["parked"] = (stays["parking"] > 0).astype(int)
    sums = stays.groupby("month")[["guests", "meal", "parking", "parked", "parked_with_meal"]].sum()
    stays_in = stays.groupby("month").size()

    assert list(bring_up_to_date(settings, "ancillary_affinity"))
    columns = "items, passenger_items, units, attach_rate, items_with_both, lift"
    with psycopg.connect(settings.url("owner")) as connection:
        found = connection.execute(
            f"SELECT service_month, ancillary_a, ancillary_b, {columns} FROM bi.ancillary_affinity"
            " WHERE product = 'hotel'"
        ).fetchall()
    rows = {(row[0], row[1], row[2]): row[3:] for row in found}
    assert len(sums) == 26
    for month, (guests, meals, spaces, parked, both) in zip(sums.index, sums.to_numpy().tolist(), strict=True):
        n = int(stays_in[month])
        assert rows[month, "meal", ""] == (n, guests, meals, meals / guests, None, None)
        assert rows[month, "other:parking-space", ""] == (n, guests, spaces, spaces / guests, None, None)
        lift = pytest.approx((both / n) / (meals / n * parked / n)) if both >= 30 else None
        assert rows[month, "meal", "other:parking-space"] == (n, guests, None, None, both, lift)


def test_booking_curves_are_what_pandas_counts_and_end_with_who_was_expected(hotel: tuple[Settings, Path]) -> None:
    """On the books at service: what was sold less what was cancelled, that is who came and who did not show up."""
    settings, data = hotel
    stays = pd.read_csv(data)
    year, month, day = (stays[f"arrival_date_{part}"].astype(str) for part in ("year", "month", "day_of_month"))
    stays["arrival"] = pd.to_datetime(year + " " + month + " " + day, format="%Y %B %d")
    stays["left"] = pd.to_datetime(stays["reservation_status_date"]).where(stays["reservation_status"] == "Canceled")

    assert list(bring_up_to_date(settings, "booking_curve"))
    with psycopg.connect(settings.url("owner")) as connection:
        published = connection.execute(
            "SELECT days_out, sum(on_the_books), sum(final_units), count(DISTINCT service_on) FROM bi.booking_curve"
            " GROUP BY days_out ORDER BY days_out"
        ).fetchall()
    for days_out, on_the_books, final, service_days in published:
        looked_on = stays["arrival"] - pd.to_timedelta(days_out, unit="D")
        held = (stays["lead_time"] >= days_out) & ~(stays["left"] <= looked_on)
        assert (on_the_books, final, service_days) == (int(held.sum()), 28_938 + 291, 793)
    assert published[0][:2] == (0, 28_938 + 291)
    list(bring_up_to_date(settings, "economic_results"))
    sold = "SELECT sum(units) - sum(cancelled_units) FROM bi.economic_results WHERE line = 'product'"
    assert query(settings, sold) == (28_938 + 291,)


def test_what_did_not_travel_is_cancelled_or_a_no_show(hotel: tuple[Settings, Path]) -> None:
    settings, _ = hotel
    assert list(bring_up_to_date(settings, "cancellation_risk"))
    sums = query(
        settings,
        "SELECT sum(at_risk) FILTER (WHERE age_weeks = 0), sum(cancelled), sum(no_shows), sum(censored),"
        " sum(still_ahead), count(*) FILTER (WHERE survival IS NULL) FROM bi.cancellation_risk",
    )
    assert sums == (40_060, 10_831, 291, 28_938, 0, 0)
    sold, cancelled, no_shows, *_ = map(int, sums)
    assert round(100 * (cancelled + no_shows) / sold, 4) == 27.7634
    last = "SELECT max(age_weeks) FROM bi.cancellation_risk"
    assert query(settings, last) == (737 // 7,)
