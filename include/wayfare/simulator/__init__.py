"""A believable travel agency that never was: its events, day by day, for demonstrations, tests and benchmarks.

Belongs here: who travels where, what they look at, buy, cancel and miss, and how that is delivered. Does not: landing
it. Everything follows from the arguments: the same ones give the same bytes.

Planted, so that analyses have something to find:

- `TRENDING` (Funchal): with many customers, its share of searches doubles from the first week to the last; with few,
  habits hide a part of it.
- `FULL_FLIGHT` (Lisbon to London Heathrow): fewer seats than its demand would take, so its departures fill up.
- `BEST_CHANNEL` (email): a visit by it ends in a booking twice as often as by any other.
- `SHORT_MEALS` (a share of departures): fewer meals are loaded than were sold.
- `RISKY_PRODUCT` (hotel): its items are cancelled twice as often as flights.
- `PAIRED` (baggage, seat): who checks in a bag chooses a seat far more often than others do.
- `SURGE` (the ninth-last day): two and a half times the visits of a usual day.
- bots: visitors that search for one route hundreds of times a day, 20 seconds apart, and never buy.
"""

from wayfare.simulator.aftermath import PAIRED, RISKY_PRODUCT
from wayfare.simulator.agency import simulate
from wayfare.simulator.people import BEST_CHANNEL, SURGE
from wayfare.simulator.stock import SHORT_MEALS
from wayfare.simulator.world import FULL_FLIGHT, TRENDING

__all__ = [
    "BEST_CHANNEL",
    "FULL_FLIGHT",
    "PAIRED",
    "RISKY_PRODUCT",
    "SHORT_MEALS",
    "SURGE",
    "TRENDING",
    "simulate",
]
