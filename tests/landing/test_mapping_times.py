"""Dates and instants of a mapping over several rows, and the parts of a date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landing.test_mapping import BASE, run

if TYPE_CHECKING:
    from pathlib import Path

TRAVEL = (
    BASE
    + """
[[events]]
type = "travel"
key = "{@line}"
fields.occurred_at = "2026-01-01T00:00:00Z"
fields.booking_id = "b"
fields.item_id = "i"
fields.outcome = "completed"
fields.x = VALUE
"""
)


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
