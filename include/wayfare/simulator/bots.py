"""Bots: one route, hundreds of searches a day, at even gaps, nothing bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wayfare.simulator import columns
from wayfare.simulator.world import HOME_AIRPORTS, MARKETS

if TYPE_CHECKING:
    from wayfare.simulator.today import Today

GAP_SECONDS = 20


def crawl(today: Today, bots: int) -> int:
    """Post the searches of the bots that are at work on a day; how many."""
    rng, world, day, posted = today.rng, today.world, today.day, 0
    for bot in np.flatnonzero(rng.random(bots) < 0.6).tolist():
        n = int(rng.integers(300, 600))
        home = bot % len(MARKETS)
        there = (bot * 7 + 3) % len(world.destinations)
        if world.destinations[there] == HOME_AIRPORTS[home]:
            there = (there + 1) % len(world.destinations)
        envelope = pa.table(
            {
                "source": columns.constant("web", n),
                "channel": columns.constant("direct", n),
                "point_of_sale": columns.constant(MARKETS[home], n),
                "visitor_id": columns.numbered("bot", np.full(n, bot)),
                "session_id": today.ids(f"bot{bot}-", np.full(n, day)),
                "is_test": pa.array(np.zeros(n, np.bool_)),
            }
        )
        at = day * 86400 + int(rng.integers(0, 70000)) + GAP_SECONDS * np.arange(n)
        start_on = day + 1 + np.arange(n) % 60
        today.mail.post(
            "search",
            envelope,
            at.astype(np.float64),
            {
                "search_id": today.ids("s", today.counters.search + np.arange(n)),
                "product": columns.constant("flight", n),
                "origin": columns.constant(HOME_AIRPORTS[home], n),
                "destination": columns.constant(world.destinations[there], n),
                "start_on": columns.date(start_on),
                "adults": columns.count(np.ones(n)),
                "result_count": columns.count(rng.integers(3, 60, n)),
            },
        )
        today.counters.search += n
        posted += n
    return posted
