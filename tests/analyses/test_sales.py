"""Sales as changes: how far stays are spread over their nights."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa

from wayfare.analyses import sales

if TYPE_CHECKING:
    from analyses.conftest import Runner

DAY = dt.date(2026, 3, 1)


def test_every_length_of_stay_has_each_of_its_nights_once(runner: Runner) -> None:
    lengths = [0, 1, 2, 3, 255, 256, 257, 365, 366, 367, 900]
    stays = pa.table(
        {
            "product": ["hotel"] * len(lengths),
            "asked": lengths,
            "service_on": pa.array([DAY] * len(lengths), pa.date32()),
            "end_on": pa.array([DAY + dt.timedelta(n) for n in lengths], pa.date32()),
        }
    )
    nights = runner.frame(pa.table({"night": range(sales.MOST_NIGHTS)}))
    rows = runner.rows(sales.by_night(runner.frame(stays), nights))
    for length in lengths:
        nights = sorted(row["service_on"] for row in rows if row["asked"] == length)
        assert nights == [DAY + dt.timedelta(n) for n in range(min(max(length, 1), 366))]
