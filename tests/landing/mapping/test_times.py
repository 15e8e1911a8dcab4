"""Dates and instants of a mapping over several rows, and the parts of a date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from landing.mapping.test_declaration import TRAVEL, run

if TYPE_CHECKING:
    from pathlib import Path


def column(tmp_path: Path, value: str, cells: list[str]) -> list[str]:
    """A value over some rows of one column `a`; the reason where a row is refused."""
    events, faults = run(tmp_path, TRAVEL.replace("VALUE", value), [{"a": cell} for cell in cells])
    given = iter(events)
    return [faults[line].reason if line in faults else next(given)["x"] for line in range(1, len(cells) + 1)]


def test_a_row_is_read_by_its_own_offset_alone(tmp_path: Path) -> None:
    value = '{ instant = "{a}", format = ["%Y-%m-%d %H:%M %z", "%d/%m/%Y %H:%M"] }'
    noon, night = "29/03/2026 12:00", "2026-03-29 01:30 +0200"
    assert column(tmp_path, value, [noon, night, "soon", noon]) == [
        "2026-03-29T12:00:00.000000Z", "2026-03-28T23:30:00.000000Z", "not_an_instant", "2026-03-29T12:00:00.000000Z"
    ]  # fmt: skip


def test_a_local_time_that_the_clock_skips_or_repeats_is_the_later_instant(tmp_path: Path) -> None:
    cells = ["2025-03-30 01:30", "2025-10-26 01:30", "2025-07-01 12:00:00.1234567"]
    assert column(tmp_path, '{ instant = "{a}", zone = "Europe/Lisbon" }', cells) == [
        "2025-03-30T01:30:00.000000Z", "2025-10-26T01:30:00.000000Z", "2025-07-01T11:00:00.123456Z"
    ]  # fmt: skip
    assert column(tmp_path, '{ instant = "{a}", format = "%Y-%m-%d %H:%M:%S.%n" }', cells[2:]) == [
        "2025-07-01T12:00:00.123457Z"
    ]


def test_a_year_of_two_digits_is_not_a_year_of_four(tmp_path: Path) -> None:
    cells = ["24/12/2025", "24/12/25"]
    assert column(tmp_path, '{ date = "{a}", format = ["%d/%m/%Y", "%d/%m/%y"] }', cells) == ["2025-12-24"] * 2
    assert column(tmp_path, '{ instant = "{a}", format = "%d/%m/%Y" }', cells)[1] == "not_an_instant"


@pytest.mark.parametrize(
    ("part", "cells"),
    [
        ("year", ["20261", "26", "2026.5", "-2026", "026x"]),
        ("month", ["123", "7.6", "13", "0", "+3", "Marchy"]),
        ("day", ["311", "15.5", "32", "0", "3 1", "1e1"]),
    ],
)
def test_parts_that_are_no_day_are_refused_and_not_cut(tmp_path: Path, part: str, cells: list[str]) -> None:
    parts = {"year": "2026", "month": "3", "day": "31"}
    value = ", ".join(f'{name} = "{"{a}" if name == part else whole}"' for name, whole in parts.items())
    found = column(tmp_path, f"{{ {value} }}", [*cells, parts[part], f"{parts[part]}.00"])
    assert found == ["not_a_date"] * len(cells) + ["2026-03-31"] * 2
