"""`wayfare import`: counts, exit statuses and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from wayfare.cli.importing import app
from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    from pathlib import Path

HOTEL = (
    "src_row,reservation_status,reservation_status_date,lead_time,arrival_date_year,arrival_date_month,"
    "arrival_date_day_of_month,stays_in_weekend_nights,stays_in_week_nights,adults,children,babies,meal,country,"
    "market_segment,distribution_channel,is_repeated_guest,reserved_room_type,assigned_room_type,deposit_type,agent,"
    "company,customer_type,adr,required_car_parking_spaces,total_of_special_requests\n"
)
ROW = "1,Check-Out,2016-07-04,30,2016,July,1,1,2,2,0,0,BB,PRT,Direct,Direct,0,A,A,No Deposit,,,Transient,{},1,0\n"


@pytest.mark.usefixtures("settings")
def test_import_counts_events_and_says_what_was_refused(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text(HOTEL + ROW.format("80.5"), encoding="utf-8")
    done = CliRunner().invoke(app, ["--mapping", "hotel_bookings", str(data)])
    assert done.exit_code == 0, done.output
    assert "4 landed" in done.output

    data.write_text(HOTEL + ROW.format("80.5") + ROW.format("eighty"), encoding="utf-8")
    again = CliRunner().invoke(app, ["--mapping", "hotel_bookings", "--json", str(data)])
    assert again.exit_code == 1
    counts = json.loads(again.output)
    assert (counts["read"], counts["duplicates"], counts["rejected"]) == (5, 4, 1)


@pytest.mark.usefixtures("settings")
def test_an_unknown_mapping_is_named_with_the_nearest(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text(HOTEL + ROW.format("1"), encoding="utf-8")
    done = CliRunner().invoke(app, ["--mapping", "hotel_booking", str(data)])
    assert isinstance(done.exception, DeclarationError)
    assert "did you mean 'hotel_bookings'?" in str(done.exception)


@pytest.mark.usefixtures("settings")
def test_a_dry_run_leaves_the_terminal_alone(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text(HOTEL + ROW.format("80.5").replace("1,", "1\u202e\x9b,", 1), encoding="utf-8")
    shown = CliRunner().invoke(app, ["--mapping", "hotel_bookings", "--dry-run", str(data)]).output
    assert r"1\u202e\u009b" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.usefixtures("settings")
def test_a_dry_run_shows_the_first_events_and_every_problem_and_lands_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    rows = [ROW.format("80.5"), *(ROW.format(price).replace("1,", "2,", 1) for price in ("eighty", "ninety"))]
    data.write_text(HOTEL + "".join(rows), encoding="utf-8")
    shown = CliRunner().invoke(app, ["--mapping", "hotel_bookings", "--dry-run", str(data)])
    assert shown.exit_code == 1
    assert '"price": 24150' in shown.output
    assert all(counted in shown.output for counted in ("would land ", "2 purchase", "1 booking", "1 travel"))
    assert f"would refuse 2 [not_a_number], the first at {data}:3\n" in shown.output
    assert "adr 'eighty'" in shown.output
    assert "adr 'ninety'" in shown.output

    as_json = CliRunner().invoke(app, ["--mapping", "hotel_bookings", "--dry-run", "--json", str(data)])
    assert json.loads(as_json.output)["events"] == {"booking": 1, "purchase": 2, "travel": 1}
    landed = CliRunner().invoke(app, ["--mapping", "hotel_bookings", "--json", str(data)])
    assert json.loads(landed.output)["landed"] == 4
