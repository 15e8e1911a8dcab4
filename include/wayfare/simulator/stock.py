"""How much there is of each resource and day, what is sold of it, and the snapshots suppliers send of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wayfare.contracts.events import PRODUCTS
from wayfare.simulator import columns
from wayfare.simulator.world import CAR, FLIGHT, HORIZON, HOTEL

if TYPE_CHECKING:
    import numpy.typing as npt

    from wayfare.simulator.columns import Flags, Ints
    from wayfare.simulator.today import Today
    from wayfare.simulator.world import World

MEALS = ("meal-standard", "meal-vegetarian")
SHORT_MEALS = 0.08
_SIGHT = 60
_SEEN_AHEAD = (1, 2, 3, 7, 14, 28)
_MEALS_AHEAD = (1, 2)


class Stock:
    """Units sold per resource and day, never more than the capacity.

    Parameters
    ----------
    world
        The resources.
    first
        First simulated day, days since 1970.
    days
        Number of simulated days; a resource sells up to `HORIZON` days ahead.
    """

    def __init__(self, world: World, first: int, days: int) -> None:
        self.world = world
        self.first = first
        self.sold = np.zeros((len(world.resources), days + HORIZON + 60), np.int32)
        self._returns: dict[int, list[tuple[Ints, ...]]] = {}
        self.meals = np.zeros((len(MEALS), *self.sold.shape), np.int32)

    def is_full(self, resource: Ints, on: Ints) -> Flags:
        """Whether nothing is left."""
        return self.sold[resource, on - self.first] >= self.world.capacity[resource]

    def sell(self, resource: Ints, start_on: Ints, end_on: Ints, units: Ints) -> Flags:
        """Sell each row for all its days up to `end_on` (exclusive), first come first served; which got a place."""
        row, cell, amount = self._cells(resource, start_on, end_on, units)
        order = np.argsort(cell, kind="stable")
        run_starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
        lengths = np.diff(np.append(run_starts, len(order)))
        wanted = columns.running(amount[order].astype(np.float64), lengths)
        width = self.sold.shape[1]
        left = self.world.capacity[cell[order] // width] - self.sold.reshape(-1)[cell[order]]
        refused = np.zeros(len(resource), np.bool_)
        refused[row[order][wanted > left]] = True
        kept = ~refused[row]
        np.add.at(self.sold.reshape(-1), cell[kept], amount[kept])
        return ~refused

    def release(self, resource: Ints, start_on: Ints, end_on: Ints, units: Ints) -> None:
        """Give back what was sold."""
        _, cell, amount = self._cells(resource, start_on, end_on, units)
        np.subtract.at(self.sold.reshape(-1), cell, amount)

    def release_later(self, day: Ints, resource: Ints, start_on: Ints, end_on: Ints, units: Ints) -> None:
        """Give back what was sold, on the days given."""
        order = np.argsort(day, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(day[order])) + 1):
            if len(group):
                rows = tuple(a[group] for a in (resource, start_on, end_on, units))
                self._returns.setdefault(int(day[group[0]]), []).append(rows)

    def begin(self, day: int) -> None:
        """Give back what is due on `day`."""
        for rows in self._returns.pop(day, []):
            self.release(*rows)

    def _cells(
        self, resource: Ints, start_on: Ints, end_on: Ints, units: Ints
    ) -> tuple[Ints, Ints, npt.NDArray[np.int32]]:
        """For every row and day it takes up (the first only of a flight or package): row, position in `sold`, units."""
        nightly = np.isin(self.world.product[resource], (HOTEL, CAR))
        counts = np.where(nightly, end_on - start_on, 1)
        row = np.repeat(np.arange(len(resource)), counts)
        on = start_on[row] + columns.positions(counts) - self.first
        return row, resource[row] * self.sold.shape[1] + on, units[row].astype(np.int32)

    def serve_meals(self, resource: Ints, on: Ints, kind: Ints, quantity: Ints) -> None:
        """Count meals sold for a departure."""
        np.add.at(self.meals, (kind, resource, on - self.first), quantity.astype(np.int32))


def snapshot(today: Today) -> None:
    """Post the night's snapshots: on the first day of all there is, then of days that come into sight or are sold."""
    stock, world = today.stock, today.world
    ahead = np.arange(1, _SIGHT + 1)
    resource, on = (a.ravel() for a in np.meshgrid(np.arange(len(world.resources)), today.day + ahead, indexing="ij"))
    sold = stock.sold[resource, on - stock.first] > 0
    posted = (on == today.day + _SIGHT) | (sold & np.isin(on - today.day, _SEEN_AHEAD)) | (today.day == stock.first)
    resource, on = resource[posted], on[posted]
    capacity = world.capacity[resource]
    _post(
        today,
        resource,
        on,
        {
            "capacity": columns.count(capacity),
            "on_hand": columns.count(capacity),
            "is_open": pa.array(~stock.is_full(resource, on)),
        },
    )
    _snapshot_meals(today)


def _snapshot_meals(today: Today) -> None:
    """Post what is loaded for the next departures that anybody flies on."""
    stock, world = today.stock, today.world
    flights = np.flatnonzero(world.product == FLIGHT)
    on = today.day + np.array(_MEALS_AHEAD)
    kind, on, flight = (a.ravel() for a in np.meshgrid(range(len(MEALS)), on, flights, indexing="ij"))
    flown = stock.sold[flight, on - stock.first] > 0
    kind, on, flight = kind[flown], on[flown], flight[flown]
    sold = stock.meals[kind, flight, on - stock.first]
    short = (flight * 2654435761 + on * 40503) % 1000 < SHORT_MEALS * 1000
    loaded = np.where(short, sold * 6 // 10, sold + 2 + sold // 4)
    _post(
        today,
        flight,
        on,
        {
            "capacity": columns.count(np.maximum(world.capacity[flight] * 2 + 4, loaded)),
            "on_hand": columns.count(loaded),
            "is_open": pa.array(loaded > sold),
            "sku": columns.coded(kind, MEALS),
        },
    )


def _post(today: Today, resource: Ints, on: Ints, own: dict[str, pa.Array]) -> None:
    n, world = len(resource), today.world
    envelope = pa.table({"source": columns.constant("supplier-feed", n)})
    at = today.day * 86400 + 10800 + np.sort(today.rng.random(n)) * 600
    named = {
        "resource_id": columns.coded(resource, world.resources),
        "product": columns.coded(world.product[resource], PRODUCTS),
        "service_on": columns.date(on),
        "location": columns.coded(world.location[resource], world.destinations),
    }
    today.mail.post("inventory", envelope, at, named | own)
