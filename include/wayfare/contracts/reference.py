"""Reference tables that rules and analyses look things up in: currencies, countries, places.

Sources: ISO 4217 (iso4217), ISO 3166-1 (the airports' countries and zoneinfo's list), IATA codes (airportsdata).
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

import airportsdata
import pyarrow as pa
from iso4217 import Currency

if TYPE_CHECKING:
    import duckdb

_CLOSED = (
    ("PNH", "Phnom Penh", "KH", "Asia/Phnom_Penh"),  # September 2025, for Techo (KTI)
    ("REP", "Siem Reap", "KH", "Asia/Phnom_Penh"),  # October 2023, for Angkor (SAI)
    ("RAJ", "Rajkot", "IN", "Asia/Kolkata"),  # September 2023, for Hirasar (HSR)
    ("DSA", "Doncaster", "GB", "Europe/London"),  # November 2022
    ("SXF", "Berlin", "DE", "Europe/Berlin"),  # October 2020, then a terminal of Brandenburg (BER)
    ("TSE", "Astana", "KZ", "Asia/Almaty"),  # June 2020, then called NQZ
    ("ISN", "Williston", "US", "America/Chicago"),  # October 2019, for Williston Basin (XWA)
    ("RTW", "Saratov", "RU", "Europe/Saratov"),  # August 2019, for Gagarin (GSV)
    ("SDV", "Tel Aviv", "IL", "Asia/Jerusalem"),  # July 2019
    ("ETH", "Eilat", "IL", "Asia/Jerusalem"),  # March 2019, for Ramon (ETM); goes on as the city's code
    ("VDA", "Eilat", "IL", "Asia/Jerusalem"),  # March 2019, for Ramon (ETM)
    ("SRI", "Samarinda", "ID", "Asia/Makassar"),  # May 2018, for Pranoto (AAP)
    ("NVK", "Narvik", "NO", "Europe/Oslo"),  # April 2017, for Evenes (EVE)
)
"""Airports that were booked and are closed: code, city, country, zone, and since when. airportsdata drops them."""


@functools.cache
def currencies() -> pa.Table:
    """Columns `currency` (ISO 4217) and `exponent` (int32, digits of the minor unit: JPY 0, USD 2, KWD 3)."""
    rows = [(c.code, c.exponent) for c in Currency if c.exponent is not None]
    return pa.table(
        {
            "currency": pa.array([code for code, _ in rows], pa.string()),
            "exponent": pa.array([exponent for _, exponent in rows], pa.int32()),
        }
    )


@functools.cache
def countries() -> pa.Table:
    """Column `country`: ISO 3166-1 alpha-2 codes in use."""
    listed = {code for code in places()["country"].to_pylist() if len(code) == 2}
    return pa.table({"country": pa.array(sorted(listed | _zoneinfo_countries()), pa.string())})


def _zoneinfo_countries() -> set[str]:
    text = (resources.files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    return {line.split("\t")[0] for line in text.splitlines() if line and not line.startswith("#")}


@functools.cache
def places() -> pa.Table:
    """One row per IATA code: `place`, its `city` (metropolitan code, or itself), `city_name`, `country`, `zone`.

    An airport of a metropolitan area belongs to that area's code (LHR to LON); any other place is its own city. Closed
    airports are there too: what was booked stays booked.
    """
    airports = airportsdata.load("IATA")
    areas = airportsdata.load_iata_macs()
    city_of = {code: area for area, details in areas.items() for code in details["airports"]}
    rows = {code: (code, code, city, country, zone) for code, city, country, zone in _CLOSED}
    rows |= {
        code: (code, city_of.get(code, code), a["city"] or a["name"], a["country"], a["tz"])
        for code, a in airports.items()
    }
    for area, details in areas.items():
        first = next(iter(details["airports"].values()))
        rows[area] = (area, area, details["name"], details["country"], first["tz"])
    for code, (place, city, _, country, zone) in rows.items():
        if city in areas:
            rows[code] = (place, city, areas[city]["name"], country, zone)
    columns = list(zip(*(rows[code] for code in sorted(rows)), strict=True))
    names = ("place", "city", "city_name", "country", "zone")
    return pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give `connection` the views that contract rules name: `reference_currency`, `_country` and `_place`."""
    connection.register("reference_currency", currencies())
    connection.register("reference_country", countries())
    connection.register("reference_place", places())
