"""The file and the test that `wayfare new-analysis` writes."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from wayfare.analyses.api import BehaviorAnalysis, Mart
from wayfare.analyses.check import misnamed, names
from wayfare.analyses.registry import analyses
from wayfare.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_ANALYSIS = '''"""{name}: what is sold, by channel."""

from __future__ import annotations

from typing import Any

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Inputs, Mart, Window, count, key
from wayfare.contracts.events import BOOKING


class {class_name}(BehaviorAnalysis):
    """How many items does each channel sell?

    An item posts to the day it was booked, under the channel of its event; events without a channel are `unknown`.
    """

    owner = "analytics"
    tags = ("bookings",)
    reads = (BOOKING,)
    window = Window()
    mart = Mart(
        day="booked_on",
        grain={{
            "booked_on": key("Day of the booking, in the agency's time zone", "date"),
            "channel": key("Channel it was sold through; unknown where none is named"),
        }},
        columns={{
            "items": count("Items sold"),
            "units": count("Seats, rooms or vehicles sold"),
        }},
    )
    expect_output = (Expect("ExpectColumnValuesToBeBetween", {{"column": "units", "min_value": 1}}),)

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        """One row per day and channel."""
        return (
            given["booking"]
            .with_columns(booked_on=nw.col("event_on"), channel=nw.col("channel").fill_null("unknown"))
            .group_by("booked_on", "channel")
            .agg(items=nw.len(), units=nw.col("units").sum())
        )

    def totals(self, given: Inputs) -> nw.LazyFrame[Any]:
        """Items and units of the days asked for, as the input has them."""
        asked = given["booking"].join(given.days, how="semi", left_on="event_on", right_on="output_on")
        return asked.select(items=nw.len(), units=nw.col("units").sum())
'''

_TEST = '''"""{name} on plain rows."""

from __future__ import annotations

import datetime as dt
from typing import Any

from wayfare.analyses.{name} import {class_name}

DAY = dt.date(2026, 3, 1)


def test_units_are_summed_by_channel(runner: Any) -> None:
    booked = [{{"channel": "web", "units": 2}}, {{"channel": "web", "units": 1}}, {{"channel": None, "units": 4}}]
    days = (DAY - dt.timedelta(1), DAY)  # a window would read both
    events = {{"booking": [{{**row, "event_on": day}} for day in days for row in booked]}}

    rows = runner.analyze({class_name}(), events, [DAY])

    assert [(r["channel"], r["items"], r["units"]) for r in rows] == [("unknown", 1, 4), ("web", 2, 3)]
    assert runner.totals({class_name}(), events, [DAY]) == {{"items": 3, "units": 7}}
'''


def write(name: str, root: Path) -> list[Path]:
    """Write the analysis `name` and its test under the project folder `root`; returns both files.

    Raises
    ------
    ConfigurationError
        The name is not snake_case, too long, Python's own or taken, or `root` is not the project.
    """
    class_name = "".join(word.capitalize() for word in name.split("_"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", name) or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is not a name for a module and a class; write one like repeat_bookers")
    wanted = type(class_name, (BehaviorAnalysis,), {"mart": Mart(day="", grain={}, columns={})})()
    for problem in misnamed(wanted):
        raise ConfigurationError(f"{name}: {problem}")
    for analysis in analyses().values():
        if both := sorted(names(wanted) & names(analysis)):
            raise ConfigurationError(f"{analysis.name} takes the name {both[0]} already; choose another one")
    folder = root / "include" / "wayfare" / "analyses"
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is missing; run this in the project's folder, or give --root")
    values = {
        "name": name,
        "class_name": class_name,
    }
    files = {
        folder / f"{name}.py": _ANALYSIS,
        root / "tests" / "analyses" / f"test_{name}.py": _TEST,
    }
    for taken in (folder / name, *files):
        if taken.exists():
            raise ConfigurationError(f"{taken} exists already; choose another name")
    for file, template in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template.format(**values))
    return list(files)
