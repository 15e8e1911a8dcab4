"""The reference of places."""

from __future__ import annotations

from zoneinfo import available_timezones

import airportsdata

from wayfare.contracts import reference


def _place(code: str) -> dict[str, str]:
    (row,) = [row for row in reference.places().to_pylist() if row["place"] == code]
    return row


def test_an_airport_belongs_to_its_city() -> None:
    assert (_place("LHR")["city"], _place("LON")["city"], _place("FAO")["city"]) == ("LON", "LON", "FAO")


def test_closed_airports_are_places() -> None:
    assert _place("PNH") == {
        "place": "PNH", "city": "PNH", "city_name": "Phnom Penh", "country": "KH", "zone": "Asia/Phnom_Penh",
    }  # fmt: skip
    assert set(reference.places()["zone"].to_pylist()) <= available_timezones()


def test_what_is_listed_as_closed_is_listed_nowhere_else() -> None:
    """A row goes once airportsdata has its code again."""
    assert not {code for code, *_ in reference._CLOSED} & airportsdata.load("IATA").keys()
