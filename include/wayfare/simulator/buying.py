"""Which visits buy what, as far as capacity goes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wayfare.contracts.events import PRODUCTS
from wayfare.simulator import columns
from wayfare.simulator.looking import OFFERS, euros
from wayfare.simulator.world import CAR, FLIGHT, HOME_AIRPORTS, HOTEL, MARKET_CURRENCIES, PACKAGE

if TYPE_CHECKING:
    import numpy.typing as npt

    from wayfare.simulator.columns import Floats, Ints
    from wayfare.simulator.looking import Looked
    from wayfare.simulator.people import Visits
    from wayfare.simulator.today import Today


@dataclass(frozen=True)
class Items:
    """Items sold, one row each, a booking's together; `rank` is 0 for its first item.

    Dates are days since 1970 (`end_on` -1: one way), `booked_at` seconds since 1970, prices minor units of the
    market's currency.
    """

    visit: Ints
    booking: Ints
    rank: Ints
    product: Ints
    resource: Ints
    start_on: Ints
    end_on: Ints
    units: Ints
    price: Ints
    market: Ints
    booked_at: Floats
    envelope: pa.Table

    def __len__(self) -> int:
        return len(self.visit)

    def take(self, rows: npt.NDArray[np.intp]) -> Items:
        """Some of the items."""
        own = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "envelope"}
        return Items(**own, envelope=self.envelope.take(pa.array(rows)))

    def ids(self, today: Today) -> tuple[pa.Array, pa.Array]:
        """`booking_id` and `item_id`."""
        return today.ids("b", self.booking), today.ids("i", self.booking * len(PRODUCTS) + self.rank)


def buy(today: Today, visits: Visits, looked: Looked) -> Items:
    """Decide which visits buy, and post bookings and offers redeemed."""
    rng = today.rng
    items = _sold(today, visits, looked)
    redeemed = np.where(rng.random(len(visits)) < 0.4, looked.offer, -1)[items.visit]
    _post_bookings(today, visits, items, redeemed, looked.first_search[items.visit])
    _post_redeemed(today, items, redeemed)
    return items


def _sold(today: Today, visits: Visits, looked: Looked) -> Items:
    buyers = np.flatnonzero((looked.results > 0) & (today.rng.random(len(visits)) < visits.keenness))
    visit, product, rank = _wanted(today.rng, visits, buyers[np.argsort(looked.ended[buyers], kind="stable")])
    resource = today.world.serving(today.rng, product, visits.market[visit], visits.destination[visit])
    seats = visits.adults[visit] + visits.children[visit]
    units = np.select([product == HOTEL, product == CAR], [(seats + 1) // 2, np.ones_like(seats)], seats)
    start_on, end_on = visits.start_on[visit], (visits.start_on + visits.nights)[visit]
    room = today.stock.sell(resource, start_on, end_on, units)
    kept = room & np.isin(visit, visit[room & (rank == 0)])
    today.stock.release(*(a[room & ~kept] for a in (resource, start_on, end_on, units)))
    nightly = np.isin(product, (HOTEL, CAR))
    one_way = (product == FLIGHT) & visits.one_way[visit]
    times = np.where(nightly, end_on - start_on, np.where((product == FLIGHT) & ~one_way, 1.9, 1.0))
    price = euros(today, resource, start_on) * times * units * today.rates[visits.market[visit]]
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((rank[rows], visit[rows], looked.ended[visit[rows]]))]
    main = rank[rows] == 0
    items = Items(
        visit=visit[rows],
        booking=today.counters.booking + np.cumsum(main) - 1,
        rank=columns.positions(np.diff(np.append(np.flatnonzero(main), len(rows)))),
        product=product[rows],
        resource=resource[rows],
        start_on=start_on[rows],
        end_on=np.where(one_way, -1, end_on)[rows],
        units=units[rows],
        price=np.floor(price[rows]).astype(np.int64),
        market=visits.market[visit[rows]],
        booked_at=looked.ended[visit[rows]] + 120 + 20.0 * rank[rows],
        envelope=visits.envelope.take(pa.array(visit[rows])),
    )
    today.counters.booking += int(main.sum())
    return items


def _wanted(rng: np.random.Generator, visits: Visits, buyers: Ints) -> tuple[Ints, Ints, Ints]:
    """Visit, product and rank of the items wanted: what each came for, and a hotel or a car beside a flight."""
    flies = buyers[visits.product[buyers] == FLIGHT]
    hotel = flies[rng.random(len(flies)) < 0.22]
    car = flies[rng.random(len(flies)) < 0.08]
    beside = np.repeat([HOTEL, CAR], [len(hotel), len(car)])
    product = np.concatenate([visits.product[buyers], beside])
    return np.concatenate([buyers, hotel, car]), product, np.concatenate([np.zeros_like(buyers), beside])


def _post_bookings(today: Today, visits: Visits, items: Items, redeemed: Ints, search: Ints) -> None:
    booking_id, item_id = items.ids(today)
    from_home = np.isin(items.product, (FLIGHT, PACKAGE))
    today.mail.post(
        "booking",
        items.envelope,
        items.booked_at,
        {
            "booking_id": booking_id,
            "item_id": item_id,
            "product": columns.coded(items.product, PRODUCTS),
            "resource_id": columns.coded(items.resource, today.world.resources),
            "search_id": today.ids("s", search),
            "origin": columns.coded(np.where(from_home, items.market, -1), HOME_AIRPORTS),
            "destination": columns.coded(today.world.location[items.resource], today.world.destinations),
            "start_on": columns.date(items.start_on),
            "end_on": columns.date(items.end_on, items.end_on >= 0),
            "units": columns.count(items.units),
            "adults": columns.count(visits.adults[items.visit]),
            "children": columns.count(visits.children[items.visit]),
            "infants": columns.count(visits.infants[items.visit]),
            "price": columns.money(items.price),
            "cost": columns.money(items.price * 84 // 100),
            "tax": columns.money(items.price * 9 // 100),
            "fee": columns.money(items.price * 2 // 100, items.product == FLIGHT),
            "commission": columns.money(items.price * 6 // 100, items.product != FLIGHT),
            "currency": columns.coded(items.market, MARKET_CURRENCIES),
            "offer_id": columns.coded(redeemed, OFFERS),
            "supplier_id": columns.coded(items.resource % 24, [f"supplier-{n:02}" for n in range(24)]),
            "cabin": columns.coded(np.where(items.product == FLIGHT, 0, -1), ["economy"]),
        },
    )


def _post_redeemed(today: Today, items: Items, redeemed: Ints) -> None:
    used = np.flatnonzero((redeemed >= 0) & (items.rank == 0))
    some = items.take(used)
    today.mail.post(
        "offer",
        some.envelope,
        some.booked_at - 1,
        {
            "offer_id": columns.coded(redeemed[used], OFFERS),
            "action": columns.constant("redeemed", len(used)),
            "booking_id": some.ids(today)[0],
            "discount": columns.money(some.price * 5 // 95),
            "currency": columns.coded(some.market, MARKET_CURRENCIES),
        },
    )
