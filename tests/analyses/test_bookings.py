"""The bookings of customers: changes add up to what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from analyses.selling import cancellation, day
from wayfare.analyses import bookings
from wayfare.analyses.customer_behavior import CustomerBehavior
from wayfare.analyses.destination_demand import DestinationDemand

if TYPE_CHECKING:
    from analyses.conftest import Runner


def test_sales_and_reversals_add_up_to_what_is_left(runner: Runner) -> None:
    item = {"event_on": day(0), "booking_id": "b", "item_id": "1", "product": "flight", "resource_id": "f"}
    item |= {"customer_id": "c", "start_on": day(9), "units": 3, "price": 300, "cost": 240}
    meal = {"event_on": day(1), "booking_id": "b", "customer_id": "c", "price": 20, "cost": 5}
    undone = cancellation(item, day(2), 1, given_back=90, reversed_cost=80)
    events = {"booking": [item], "purchase": [meal], "cancellation": [undone]}
    changes = bookings.booking_changes(runner.inputs(CustomerBehavior(), events, [day(3)]))
    sums = (nw.col(name).sum().alias(name) for name in ("net", "margin"))
    (row,) = runner.rows(bookings.bookings(changes, ["customer_id"], *sums))
    assert (row["customer_id"], row["booked_on"], row["items"], row["units"]) == ("c", day(0), 1, 2)
    assert (row["net"], row["margin"], row["is_net"]) == (300 + 20 - 90, 60 + 15 - 10, True)


def test_types_that_are_no_input_are_left_out(runner: Runner) -> None:
    events = {"booking": [{"customer_id": None, "units": 2}]}
    changes = bookings.booking_changes(runner.inputs(DestinationDemand(), events, [day(0)]))
    assert [(row["customer_id"], row["units"]) for row in runner.rows(changes)] == [(None, 2)]
