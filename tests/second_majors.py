"""An installation whose contracts have second major versions: declared before anything else of Wayfare is imported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Expect, Inputs, Mart, count, key
from wayfare.contracts import EVENT_TYPES, Field, Kind

if TYPE_CHECKING:
    from wayfare.contracts import EventType

GATE = Field("gate", Kind.TEXT, "Gate.")


def _second(name: str, *fields: Field) -> EventType:
    first = EVENT_TYPES[name]
    made = replace(first, version="2-0-0", fields=(*first.fields, *fields))
    EVENT_TYPES[made.name] = made
    return made


_second("booking")


class Trips(BehaviorAnalysis):
    """How many units traveled?"""

    reads = (_second("travel", GATE),)
    mart = Mart(
        day="travel_on",
        grain={"travel_on": key("Day of the travel.", "date"), "gate": key("The gate.")},
        columns={"units": count("Units that traveled."), "price_minor": count("What was paid for them.")},
    )
    expect_input: ClassVar = {
        "travel_v2": (Expect("ExpectColumnValuesToNotBeInSet", {"column": "gate", "value_set": ["nowhere"]}),)
    }

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        """Units by day and gate."""
        return (
            given["travel_v2"]
            .group_by("event_on", "gate")
            .agg(units=nw.col("reversed_units").sum(), price_minor=nw.col("reversed_price").sum())
            .rename({"event_on": "travel_on"})
        )

    def totals(self, given: Inputs) -> nw.LazyFrame[Any]:
        """All of them."""
        return given["travel_v2"].select(units=nw.col("reversed_units").sum())


def main(*files: str) -> None:
    """Land each file and publish; print the chunks' days and the mart after each."""
    from sqlalchemy import text

    from wayfare import landing
    from wayfare.analyses import registry
    from wayfare.pipeline import bring_up_to_date
    from wayfare.settings import get_settings
    from wayfare.staging import database

    settings = get_settings()
    database.migrate(settings)
    registry.analyses()["trips"] = Trips()
    for file in files:
        landed = landing.land(settings, [file])
        assert landed.landed == landed.read, landed
        chunks = [summary["chunk"]["days"] for summary in bring_up_to_date(settings, "trips")]
        with database.transaction(settings.url("pipeline")) as connection:
            rows = connection.execute(
                text("SELECT travel_on::text, gate, units, price_minor, is_complete FROM bi.trips ORDER BY 1, 2")
            )
            print([chunks, [tuple(row) for row in rows]])  # noqa: T201
