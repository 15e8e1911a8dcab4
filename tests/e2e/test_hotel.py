"""Real bookings of a resort hotel, through a mapping, to the published marts: every known figure, to the cent.

The figures are those of Antonio, de Almeida & Nunes, Data in Brief 22 (2019), counted over the resort hotel's rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    import pytest

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


def test_every_known_figure_comes_out(settings: Settings, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "include"))
    data = str(shared_data / "hotel_bookings_resort.csv.gz")

    done = wayfare("import", "--mapping", str(MAPPING), "--json", data)
    assert done.returncode == 0, done.stdout + done.stderr
    landed = json.loads(done.stdout)
    assert (landed["duplicates"], landed["conflicts"], landed["rejected"]) == (0, 0, 0)
    again = json.loads(wayfare("import", "--mapping", str(MAPPING), "--json", data).stdout)
    assert (again["landed"], again["duplicates"]) == (0, landed["landed"])

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
