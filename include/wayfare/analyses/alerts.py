"""Alert levels with hysteresis: raised at one probability, dropped only below a lower one, remembered over days."""

from __future__ import annotations

import narwhals as nw

from wayfare.analyses.expressions import Frame, days_between, integer, plus_days

LEVELS = ("none", "watch", "high", "full")
RAISED_AT, DROPPED_BELOW = (0.5, 0.8, 0.95), (0.4, 0.7, 0.9)


def alert_levels(states: Frame, days: Frame, remembered: int) -> Frame:
    """The alert level of each output day and of the day before it, from the `remembered` days before it and itself.

    `states` has a row for each day looked from and departure (as_of_on, resource_id, service_on) with `capacity`,
    `load_factor` and `full_probability`. A level is raised at a probability of `RAISED_AT` and stays until one below
    `DROPPED_BELOW`; the highest is also raised at a load factor of 1. A day without a known probability leaves it as it
    was, one with a capacity of 0 drops it.

    Returns
    -------
    Frame
        as_of_on (the output day), resource_id, service_on, alert_level, previous_level: names of `LEVELS`.
    """
    probability, is_sold_out = nw.col("full_probability"), nw.col("load_factor") >= 1
    is_unknown = probability.is_null() & (nw.col("capacity") > 0)
    looked = (
        states.select(
            "as_of_on",
            "resource_id",
            "service_on",
            raised=_level(probability, RAISED_AT, is_sold_out),
            kept=_level(probability, DROPPED_BELOW, is_sold_out | is_unknown),
        )
        .join(days.with_columns(from_on=plus_days("output_on", -remembered)), how="cross")
        .filter(nw.col("as_of_on") >= nw.col("from_on"), nw.col("as_of_on") <= nw.col("output_on"))
        .with_columns(back=days_between("as_of_on", "output_on"))
    )
    is_before = nw.col("back") > 0
    firsts = {}
    for level in range(1, len(LEVELS)):
        is_raised, is_dropped = nw.col("raised") >= level, nw.col("kept") < level
        firsts[f"raised_{level}"] = nw.when(is_raised).then(nw.col("back")).min()
        firsts[f"dropped_{level}"] = nw.when(is_dropped).then(nw.col("back")).min()
        firsts[f"raised_before_{level}"] = nw.when(is_raised & is_before).then(nw.col("back")).min()
        firsts[f"dropped_before_{level}"] = nw.when(is_dropped & is_before).then(nw.col("back")).min()
    firsts_of_each = looked.group_by("output_on", "resource_id", "service_on").agg(**firsts)
    departure = {"as_of_on": "output_on", "resource_id": "resource_id", "service_on": "service_on"}
    return firsts_of_each.select(**departure, alert_level=_named(""), previous_level=_named("_before"))


def _level(probability: nw.Expr, thresholds: tuple[float, ...], is_sold_out: nw.Expr) -> nw.Expr:
    watch, high, full = thresholds
    level = nw.when(probability >= watch).then(integer(1)).otherwise(integer(0))
    level = nw.when(probability >= high).then(integer(2)).otherwise(level)
    return nw.when((probability >= full) | is_sold_out).then(integer(3)).otherwise(level)


def _named(when: str) -> nw.Expr:
    """The highest level raised on a later day than it was last dropped."""
    name = nw.lit(LEVELS[0])
    for level, reached in enumerate(LEVELS[1:], 1):
        raised, dropped = nw.col(f"raised{when}_{level}"), nw.col(f"dropped{when}_{level}")
        name = (
            nw.when((raised < dropped) | (~raised.is_null() & dropped.is_null())).then(nw.lit(reached)).otherwise(name)
        )
    return name
