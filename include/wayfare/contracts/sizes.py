"""How large a value of an event may plausibly be: beyond that it is an error, though it has landed and stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from wayfare.contracts.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.contracts.model import EventType

PLAUSIBLE_UNITS, PLAUSIBLE_MINOR = 100_000, 10**13
"""Most units of one sale, and most minor units of one amount of either sign, in any currency.

More has landed, as contracts allow it. Squared, or in a currency of many units, it would overflow what analyses compute
with, and each would be stuck for as long as its window sees the event.
"""
_REVERSED = ("reversed_price", "reversed_cost", "reversed_commission", "reversed_fee")
"""Amounts of a sale in an event that takes it back: set aside with the sale, it takes nothing off the others."""


class Size(NamedTuple):
    """The bounds of a column; `critical` ones set an event aside, others only warn."""

    column: str
    least: int
    most: int | None
    severity: Literal["critical", "warning"] = "critical"


def sizes(event_type: EventType) -> Iterator[Size]:
    """The bounds on the columns of a type's day files."""
    for field in event_type.fields:
        if field.signed:
            yield Size(field.name, 0, None, "warning")
            yield Size(field.name, -PLAUSIBLE_MINOR, PLAUSIBLE_MINOR)
        elif field.kind is Kind.MONEY:
            yield Size(field.name, 0, PLAUSIBLE_MINOR)
        elif field.kind is Kind.COUNT:
            is_sold = field.name in {"units", "quantity"} and not event_type.refers
            yield Size(field.name, 0, PLAUSIBLE_UNITS if is_sold else None)
    if event_type.refers:
        yield Size("item_units", 0, PLAUSIBLE_UNITS)
        yield from (Size(name, -PLAUSIBLE_MINOR, PLAUSIBLE_MINOR) for name in _REVERSED)
