"""What a visit looks at: searches, views of what they found, and offers seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wayfare.contracts.events import PRODUCTS
from wayfare.simulator import columns
from wayfare.simulator.people import away
from wayfare.simulator.world import FLIGHT, HOME_AIRPORTS, MARKET_CURRENCIES, PACKAGE

if TYPE_CHECKING:
    from wayfare.simulator.columns import Flags, Floats, Ints
    from wayfare.simulator.people import Visits
    from wayfare.simulator.today import Today

OFFERS = ("spring-5", "app-first", "members-10", "last-minute", "weekend", "bundle")
_UNAVAILABLE = ("sold_out", "no_availability")


@dataclass(frozen=True, slots=True)
class Looked:
    """What each visit came to: the number of its first search and what that found, the end, and the offer seen."""

    first_search: Ints
    results: Ints
    ended: Floats
    offer: Ints


@dataclass(frozen=True, slots=True)
class _Searches:
    ids: pa.Array
    began: Floats
    product: Ints
    market: Ints
    destination: Ints
    start_on: Ints
    resource: Ints
    price: Floats
    views: Ints
    envelope: pa.Table


def euros(today: Today, resource: Ints, start_on: Ints) -> Floats:
    """Euros for one unit (one night, one rental day): dearer close to departure and in season, never twice the same."""
    lead = np.maximum(start_on - today.day, 0)
    close = np.where(today.world.product[resource] == FLIGHT, 1 + 0.9 * np.exp(-lead / 12), 1.0)
    season = 1 + 0.25 * np.exp(-((((start_on % 365.2425) - 210) / 40) ** 2))
    return np.asarray(today.world.base_price[resource] * close * season * today.rng.uniform(0.85, 1.2, len(resource)))


def look(today: Today, visits: Visits) -> Looked:
    """Post the day's searches, views and offers seen."""
    rng, world = today.rng, today.world
    per_visit = 1 + np.minimum(rng.geometric(0.42, len(visits)) - 1, 9)
    visit, turn = np.repeat(np.arange(len(visits)), per_visit), columns.positions(per_visit)
    total = len(visit)
    market, product = visits.market[visit], visits.product[visit]
    other = (turn > 0) & (rng.random(total) < 0.3)
    destination = np.where(other, columns.pick(rng, world.popularity, total), visits.destination[visit])
    destination = away(world, market, destination)
    moved = np.where((turn > 0) & (rng.random(total) < 0.3), rng.integers(1, 4, total), 0)
    start_on = visits.start_on[visit] + moved
    resource = world.serving(rng, product, market, destination)
    full = today.stock.is_full(resource, start_on) & (world.many[product, market, destination] == 1)
    nothing = full | (rng.random(total) < 0.03)
    views = np.where(nothing, 0, np.minimum(rng.poisson(1.5, total), 8))
    pace = rng.exponential(50, total) + 5 + 35.0 * views
    ended = visits.started[visit] + columns.running(pace, per_visit)
    searches = _Searches(
        ids=today.ids("s", today.counters.search + np.arange(total)),
        began=ended - pace,
        product=product,
        market=market,
        destination=destination,
        start_on=start_on,
        resource=resource,
        price=euros(today, resource, start_on) * today.rates[market],
        views=views,
        envelope=visits.envelope.take(pa.array(visit)),
    )
    results = np.where(nothing, 0, rng.integers(3, 60, total))
    _post_searches(today, visits, visit, searches, results, full)
    _post_views(today, searches)
    last = np.cumsum(per_visit) - 1
    first = last - per_visit + 1
    looked = Looked(today.counters.search + first, results[first], ended[last], _offered(rng, len(visits)))
    today.counters.search += total
    _post_offers(today, visits, looked)
    return looked


def _post_searches(  # noqa: PLR0917 - one row's parts, all of one length
    today: Today, visits: Visits, visit: Ints, searches: _Searches, results: Ints, full: Flags
) -> None:
    product, nothing = searches.product, results == 0
    round_trip = (product != FLIGHT) | ~visits.one_way[visit]
    from_home = np.isin(product, (FLIGHT, PACKAGE))
    today.mail.post(
        "search",
        searches.envelope,
        searches.began,
        {
            "search_id": searches.ids,
            "product": columns.coded(product, PRODUCTS),
            "origin": columns.coded(np.where(from_home, searches.market, -1), HOME_AIRPORTS),
            "destination": columns.coded(searches.destination, today.world.destinations),
            "start_on": columns.date(searches.start_on),
            "end_on": columns.date(searches.start_on + visits.nights[visit], round_trip),
            "adults": columns.count(visits.adults[visit]),
            "children": columns.count(visits.children[visit]),
            "infants": columns.count(visits.infants[visit]),
            "result_count": columns.count(results),
            "min_price": columns.money(searches.price * 0.9, ~nothing),
            "currency": columns.coded(np.where(nothing, -1, searches.market), MARKET_CURRENCIES),
            "unavailable_reason": columns.coded(np.where(full, 0, np.where(nothing, 1, -1)), _UNAVAILABLE),
        },
    )


def _post_views(today: Today, searches: _Searches) -> None:
    rng, world = today.rng, today.world
    search = np.repeat(np.arange(len(searches.views)), searches.views)
    n, turn = len(search), columns.positions(searches.views)
    product, market = searches.product[search], searches.market[search]
    others = world.serving(rng, product, market, searches.destination[search])
    rows = pa.array(search)
    today.mail.post(
        "view",
        searches.envelope.take(rows),
        searches.began[search] + 4 + 30.0 * turn + rng.random(n) * 20,
        {
            "product": columns.coded(product, PRODUCTS),
            "resource_id": columns.coded(np.where(turn == 0, searches.resource[search], others), world.resources),
            "search_id": searches.ids.take(rows),
            "price": columns.money(searches.price[search] * rng.uniform(0.9, 1.3, n)),
            "currency": columns.coded(market, MARKET_CURRENCIES),
            "position": columns.count(1 + turn * 2 + rng.integers(0, 2, n)),
        },
    )


def _offered(rng: np.random.Generator, visits: int) -> Ints:
    """The offer that each visit sees, -1 for none."""
    return np.where(rng.random(visits) < 0.25, rng.integers(0, len(OFFERS), visits), -1)


def _post_offers(today: Today, visits: Visits, looked: Looked) -> None:
    seen = np.flatnonzero(looked.offer >= 0)
    today.mail.post(
        "offer",
        visits.envelope.take(pa.array(seen)),
        looked.ended[seen],
        {
            "offer_id": columns.coded(looked.offer[seen], OFFERS),
            "action": columns.constant("exposed", len(seen)),
        },
    )
