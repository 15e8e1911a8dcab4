"""Where one can go: markets, airports, routes, flights, hotels, cars, packages, their capacities and prices."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import airportsdata
import numpy as np
from currency_converter import CurrencyConverter

from wayfare.contracts.events import PRODUCTS
from wayfare.contracts.reference import currencies, places

if TYPE_CHECKING:
    from wayfare.simulator.columns import Floats, Ints

TRENDING = "FNC"
FULL_FLIGHT = "flight:WF101"
FULL_ROUTE = ("LIS", "LHR")
HORIZON = 330

MARKETS = ("PT", "ES", "GB", "DE", "FR", "US", "BR", "CH", "JP")
MARKET_WEIGHTS = (0.36, 0.14, 0.14, 0.10, 0.08, 0.08, 0.04, 0.03, 0.03)
MARKET_CURRENCIES = ("EUR", "EUR", "GBP", "EUR", "EUR", "USD", "BRL", "CHF", "JPY")
HOME_AIRPORTS = ("LIS", "MAD", "MAN", "FRA", "CDG", "JFK", "GRU", "ZRH", "NRT")
"""Where each of the `MARKETS` departs from."""
_DESTINATIONS = (
    *("FNC", "LHR", "BCN", "FAO", "MAD", "AMS", "FCO", "PDL", "ORY", "BER", "OPO", "CPH", "VIE", "PRG"),
    *("DUB", "ATH", "MXP", "BRU", "GVA", "KEF", "EDI", "IST", "CMN", "RAK", "SID", "RAI", "JFK", "BOS"),
    *("MIA", "YYZ", "LAX", "GIG", "REC", "DXB", "BKK", "SIN", "HND", "LAD", "MPM", "JNB", "DPS", "SYD"),
)
FLIGHT, HOTEL, CAR, PACKAGE = range(len(PRODUCTS))
_ROOMS = ("single", "double", "suite")
_CARS = ("compact", "estate")
_BOARDS = ("half-board", "all-inclusive")
UNIT_DEMAND = 0.016
"""Units sold per customer and day, which capacities are sized by."""


@dataclass(frozen=True)
class World:
    """The supply. Resources are numbered; `first` and `many` say which ones serve a product from and to a place.

    `first[product, market, destination]` is the first of `many[...]` consecutive resources; `location` is a position
    in `destinations`, `base_price` is in euros.
    """

    destinations: tuple[str, ...]
    popularity: Floats
    resources: tuple[str, ...]
    product: Ints
    location: Ints
    capacity: Ints
    base_price: Floats
    first: Ints
    many: Ints

    def serving(self, rng: np.random.Generator, product: Ints, market: Ints, destination: Ints) -> Ints:
        """A resource of each product that goes from the market's home to, or is at, the destination."""
        start, many = self.first[product, market, destination], self.many[product, market, destination]
        return np.asarray(start + (rng.random(len(start)) * many).astype(np.int64))


def make_world(rng: np.random.Generator, customers: int) -> World:
    """A world whose breadth and capacities suit the number of customers."""
    destinations = tuple(_DESTINATIONS[: int(np.clip(10 + customers // 500, 12, len(_DESTINATIONS)))])
    popularity = 1 / np.arange(2, len(destinations) + 2) ** 0.8
    popularity /= popularity.sum()
    shape = (len(PRODUCTS), len(MARKETS), len(destinations))
    first, many = np.zeros(shape, np.int64), np.ones(shape, np.int64)
    supply = _flights(destinations, popularity, customers, first, many)
    supply += _stays(rng, destinations, popularity, len(supply), first, many)
    demand = np.array([s.demand for s in supply]) * customers * UNIT_DEMAND
    capacity = np.maximum(np.ceil(demand * rng.uniform(1.3, 3.0, len(supply))), 4).astype(np.int64)
    names = tuple(s.name for s in supply)
    capacity[names.index(FULL_FLIGHT)] = max(2, int(demand[names.index(FULL_FLIGHT)]))
    return World(
        destinations=destinations,
        popularity=popularity,
        resources=names,
        product=np.array([s.product for s in supply]),
        location=np.array([s.location for s in supply]),
        capacity=capacity,
        base_price=np.array([s.price for s in supply]),
        first=first,
        many=many,
    )


class _Supply(NamedTuple):
    product: int
    location: int
    name: str
    demand: float
    price: float


def _flights(
    destinations: tuple[str, ...], popularity: Floats, customers: int, first: Ints, many: Ints
) -> list[_Supply]:
    """One flight or two from each home airport to each destination, noted in `first` and `many`."""
    supply: list[_Supply] = []
    distance = _distances(destinations)
    for origin, code in enumerate(HOME_AIRPORTS):
        for d, destination in enumerate(destinations):
            share = MARKET_WEIGHTS[origin] * popularity[d]
            planted = (code, destination) == FULL_ROUTE
            first[FLIGHT, origin, d] = len(supply)
            many[FLIGHT, origin, d] = turns = 2 if share * customers > 400 and not planted else 1
            for _ in range(turns):
                name = FULL_FLIGHT if planted else f"flight:WF{102 + len(supply)}"
                supply.append(_Supply(FLIGHT, d, name, 0.55 * share / turns, 45 + 0.085 * distance[origin, d]))
    return supply


def _stays(  # noqa: PLR0917 - what is built so far, and where to note the rest
    rng: np.random.Generator, destinations: tuple[str, ...], popularity: Floats, taken: int, first: Ints, many: Ints
) -> list[_Supply]:
    """Rooms, cars and packages at each destination, numbered from `taken`, noted in `first` and `many`."""
    supply: list[_Supply] = []
    for d, place in enumerate(destinations):
        level = rng.uniform(0.7, 1.6)
        rooms = [f"hotel:{place}-{house:02}/{room}" for house in (1, 2) for room in _ROOMS]
        cars = [f"car:{place}/{car}" for car in _CARS]
        packages = [f"package:{place}/{board}" for board in _BOARDS]
        for product, names, demand, price in (
            (HOTEL, rooms, 1.2, 95),
            (CAR, cars, 1.0, 38),
            (PACKAGE, packages, 0.15, 420),
        ):
            first[product, :, d], many[product, :, d] = taken + len(supply), len(names)
            for turn, name in enumerate(names):
                share = demand * popularity[d] / len(names)
                supply.append(_Supply(product, d, name, share, price * level * (1 + 0.3 * turn)))
    return supply


def _distances(destinations: tuple[str, ...]) -> Floats:
    """Great-circle kilometers from each home airport to each destination."""
    airports = airportsdata.load("IATA")

    def radians(codes: tuple[str, ...], key: str) -> Floats:
        return np.radians([float(airports[c][key]) for c in codes])  # type: ignore[literal-required]  # lat or lon

    lat, lon = radians(HOME_AIRPORTS, "lat")[:, None], radians(HOME_AIRPORTS, "lon")[:, None]
    to_lat, to_lon = radians(destinations, "lat")[None, :], radians(destinations, "lon")[None, :]
    cosine = np.sin(lat) * np.sin(to_lat) + np.cos(lat) * np.cos(to_lat) * np.cos(lon - to_lon)
    return np.asarray(6371.0 * np.arccos(np.clip(cosine, -1, 1)))


def offsets(day: int) -> Ints:
    """Seconds each market's clock is ahead of UTC on a day (days since 1970)."""
    table = places()
    zones = dict(zip(table["place"].to_pylist(), table["zone"].to_pylist(), strict=True))
    noon = dt.datetime.fromtimestamp(day * 86400 + 43200, dt.UTC)
    ahead = [noon.astimezone(ZoneInfo(zones[code])).utcoffset() or dt.timedelta() for code in HOME_AIRPORTS]
    return np.array([int(a.total_seconds()) for a in ahead])


class Rates:
    """Minor units of each market's currency in a euro, by day: the European Central Bank's, the last one known."""

    def __init__(self) -> None:
        self._converter = CurrencyConverter(
            fallback_on_wrong_date=True, fallback_on_missing_rate=True, fallback_on_missing_rate_method="last_known"
        )
        exponents = dict(zip(*(column.to_pylist() for column in currencies().columns), strict=True))
        self._minor = [10 ** exponents[code] for code in MARKET_CURRENCIES]

    def on(self, day: int) -> Floats:
        """One rate per market on a day (days since 1970)."""
        date = _date(day)
        rates = (self._converter.convert(1, "EUR", code, date) for code in MARKET_CURRENCIES)
        return np.array([rate * minor for rate, minor in zip(rates, self._minor, strict=True)])


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)


def search_season(day: int) -> float:
    """How busy a day is for the agency: week, year and holidays."""
    date = _date(day)
    week = (1.15, 1.1, 1.05, 1.0, 0.95, 0.8, 0.95)[date.weekday()]
    year = 1 + 0.25 * np.cos(2 * np.pi * (date.timetuple().tm_yday - 20) / 365)
    holiday = 0.5 if (date.month, date.day) in {(12, 24), (12, 25), (12, 31), (1, 1)} else 1.0
    return float(week * year * holiday)


def travel_season(days: Ints) -> Floats:
    """How much people like to leave on each day (days since 1970): summer, Christmas, Easter, the end of the week."""
    of_year = days % 365.2425
    summer = 0.6 * np.exp(-(((of_year - 210) / 35) ** 2))
    feasts = 0.4 * np.exp(-(((of_year - 355) / 8) ** 2)) + 0.2 * np.exp(-(((of_year - 100) / 10) ** 2))
    weekday = (days + 3) % 7
    return np.asarray((1 + summer + feasts) * np.where(np.isin(weekday, (3, 4, 5)), 1.3, 1.0))
