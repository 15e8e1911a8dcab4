"""Who travels: customers with habits, and a day's visits of customers and of strangers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare.simulator import columns
from wayfare.simulator.world import (
    FLIGHT,
    FULL_ROUTE,
    HOME_AIRPORTS,
    HORIZON,
    MARKET_WEIGHTS,
    MARKETS,
    TRENDING,
    World,
    offsets,
    search_season,
    travel_season,
)

if TYPE_CHECKING:
    from wayfare.simulator.columns import Flags, Floats, Ints
    from wayfare.simulator.today import Today

BEST_CHANNEL = "email"
CHANNELS = ("direct", "organic", "paid-search", "email", "social", "metasearch", "affiliate")
_CHANNEL_WEIGHTS = (0.24, 0.24, 0.2, 0.1, 0.08, 0.1, 0.04)
_FIRST_PAID = 2
_CAMPAIGN_SOURCES = ("", "", "google", "newsletter", "instagram", "skyscanner", "partners")
_CAMPAIGN_MEDIUMS = ("", "", "cpc", "email", "social", "cpc", "affiliate")
_SOURCES = ("web", "app", "agent-desk", "gds")
_SOURCE_WEIGHTS = (0.6, 0.3, 0.08, 0.02)
_PRODUCT_WEIGHTS = (0.55, 0.27, 0.1, 0.08)
_HOURS = (1, 0.5, 0.3, 0.2, 0.2, 0.4, 1, 2, 3, 4, 4.5, 4.5, 5, 5, 4.5, 4, 4, 4.5, 5, 6, 7, 7, 5, 2.5)
VISITS_PER_CUSTOMER = 0.128
SURGE = 8
"""Days before the last one on which a day brings `_SURGE_VISITS` times its visits."""
_SURGE_VISITS = 2.5
_KNOWN = 0.62


@dataclass(frozen=True)
class People:
    """Habits of customers, by number."""

    market: Ints
    product: Ints
    favorites: Ints
    channel: Ints
    adults: Ints
    children: Ints
    infants: Ints
    regular: Flags
    weight: Floats


def make_people(rng: np.random.Generator, world: World, customers: int) -> People:
    """Customers: a tenth travel often, alone and at short notice; the others by family and season."""
    regular = rng.random(customers) < 0.1
    party = columns.pick(rng, (0.35, 0.4, 0.25), customers)
    family = (party == 2) & ~regular
    return People(
        market=columns.pick(rng, MARKET_WEIGHTS, customers),
        product=np.where(regular, FLIGHT, columns.pick(rng, _PRODUCT_WEIGHTS, customers)),
        favorites=columns.pick(rng, world.popularity, customers * 2).reshape(customers, 2),
        channel=columns.pick(rng, _CHANNEL_WEIGHTS, customers),
        adults=np.where(regular | (party == 0), 1, 2),
        children=np.where(family, rng.integers(1, 4, customers), 0),
        infants=np.where(family & (rng.random(customers) < 0.2), 1, 0),
        regular=regular,
        weight=rng.gamma(0.8, 1.25, customers) * np.where(regular, 4.0, 1.0),
    )


@dataclass(frozen=True)
class Visits:
    """A day's visits: what each came for, when, and the columns that all its events share."""

    started: Floats
    market: Ints
    product: Ints
    destination: Ints
    start_on: Ints
    nights: Ints
    one_way: Flags
    adults: Ints
    children: Ints
    infants: Ints
    keenness: Floats
    envelope: pa.Table

    def __len__(self) -> int:
        return len(self.started)


@dataclass(frozen=True, slots=True)
class _Whence:
    """Whose a visit is (`who`; a stranger has that customer's habits where not `known`) and how it came."""

    who: Ints
    known: Flags
    market: Ints
    channel: Ints
    test: Flags


def visits(today: Today, people: People) -> Visits:
    """The visits of a day."""
    rng, day = today.rng, today.day
    customers = len(people.market)
    surge = _SURGE_VISITS if today.left == SURGE else 1.0
    n = int(rng.poisson(customers * VISITS_PER_CUSTOMER * search_season(day) * surge))
    known = rng.random(n) < _KNOWN
    who = np.where(known, columns.pick(rng, people.weight, n), rng.integers(0, customers, n))
    regular = people.regular[who] & known
    channel = np.where(rng.random(n) < 0.6, people.channel[who], columns.pick(rng, _CHANNEL_WEIGHTS, n))
    product = np.where(rng.random(n) < 0.7, people.product[who], columns.pick(rng, _PRODUCT_WEIGHTS, n))
    market = people.market[who]
    start_on = _departures(rng, day, regular)
    test = rng.random(n) < 0.002
    keenness = 0.06 * np.where(regular, 2.2, 1.0) * np.where(channel == CHANNELS.index(BEST_CHANNEL), 2.0, 1.0)
    whence = _Whence(who, known, market, channel, test)
    return Visits(
        started=_starts(rng, day, market),
        market=market,
        product=product,
        destination=_destinations(today, people, whence, product),
        start_on=start_on,
        nights=1 + np.minimum(rng.geometric(np.where(regular, 0.45, 0.2)), 20),
        one_way=rng.random(n) < 0.2,
        adults=people.adults[who],
        children=people.children[who],
        infants=people.infants[who],
        keenness=np.where(test, 0.0, keenness),
        envelope=_envelope(today, whence),
    )


def _starts(rng: np.random.Generator, day: int, market: Ints) -> Floats:
    """Seconds since 1970: by the market's own clock, within the day as UTC has it."""
    local = (columns.pick(rng, _HOURS, len(market)) + rng.random(len(market))) * 3600
    return np.asarray(day * 86400 + (local - offsets(day)[market]) % 86400)


def _departures(rng: np.random.Generator, day: int, regular: Flags) -> Ints:
    """Of two days each might leave on, the one whose season is better liked."""
    median = np.where(regular, 7.0, 24.0)
    first, second = (
        day + np.clip(rng.lognormal(np.log(median), 0.9), 1, HORIZON - 30).astype(np.int64) for _ in range(2)
    )
    liked, other = travel_season(first), travel_season(second)
    return np.where(rng.random(len(regular)) < liked / (liked + other), first, second)


def _destinations(today: Today, people: People, whence: _Whence, product: Ints) -> Ints:
    rng, world, n = today.rng, today.world, len(product)
    trend = world.popularity.copy()
    trend[world.destinations.index(TRENDING)] *= 1 + 6 * today.progress
    habit = whence.known & (rng.random(n) < 0.4)
    chosen = np.where(habit, people.favorites[whence.who, rng.integers(0, 2, n)], columns.pick(rng, trend, n))
    full = (whence.market == MARKETS.index("PT")) & (product == FLIGHT) & (rng.random(n) < 0.2)
    chosen = np.where(full, world.destinations.index(FULL_ROUTE[1]), chosen)
    return away(world, whence.market, chosen)


def away(world: World, market: Ints, destination: Ints) -> Ints:
    """`destination`, or the next one where it is the market's own airport."""
    home = np.array([world.destinations.index(c) if c in world.destinations else -1 for c in HOME_AIRPORTS])
    return np.where(destination == home[market], (destination + 1) % len(world.destinations), destination)


def _envelope(today: Today, whence: _Whence) -> pa.Table:
    rng, n = today.rng, len(whence.who)
    number = today.counters.visit + np.arange(n)
    device = whence.who * 2 + rng.integers(0, 2, n)
    visitor = pc.if_else(pa.array(whence.known), columns.numbered("v", device), today.ids("v", number))
    campaign = np.where((rng.random(n) < 0.5) & (whence.channel >= _FIRST_PAID), whence.channel, -1)
    return pa.table(
        {
            "source": columns.coded(columns.pick(rng, _SOURCE_WEIGHTS, n), _SOURCES),
            "channel": columns.coded(whence.channel, CHANNELS),
            "point_of_sale": columns.coded(whence.market, MARKETS),
            "customer_id": columns.absent(columns.numbered("c", whence.who), ~whence.known),
            "visitor_id": visitor,
            "session_id": today.ids("w", number),
            "campaign_source": columns.coded(campaign, _CAMPAIGN_SOURCES),
            "campaign_medium": columns.coded(campaign, _CAMPAIGN_MEDIUMS),
            "is_test": pa.array(whence.test),
        }
    )
