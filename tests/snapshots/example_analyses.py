"""Small analyses for the tests of snapshots and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw

from wayfare.analyses.api import BehaviorAnalysis, Mart, Window, count, key, measure
from wayfare.contracts import EVENT_TYPES

if TYPE_CHECKING:
    from wayfare.analyses.api import Inputs


class Demand(BehaviorAnalysis):
    """How much is searched for, by day and destination?"""

    reads: ClassVar = (EVENT_TYPES["search"], EVENT_TYPES["booking"])
    window: ClassVar[Window] = Window(after=1)
    mart: ClassVar[Mart] = Mart(
        day="search_on",
        grain={"search_on": key("Day.", "date"), "destination": key("Where to.")},
        columns={"searches": count("Searches."), "share": measure("Share of all searches of the day.")},
    )

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        found = given["search"].group_by(nw.col("event_on").alias("search_on"), "destination")
        return found.agg(searches=nw.len(), share=nw.lit(1.0))


class Reversals(BehaviorAnalysis):
    """Nothing but the types that refer to a sale."""

    reads: ClassVar = tuple(e for e in EVENT_TYPES.values() if e.refers)
    window: ClassVar[Window] = Window(after=9)
    mart: ClassVar[Mart] = Mart(day="output_on", grain={"output_on": key("Day.", "date")}, columns={})
