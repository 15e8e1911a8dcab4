"""What one late event costs with 10 and with 1,000 days of history: `python bench/late_day.py`.

The history is the same number of bookings each day, landed and published; then one booking of an old day comes late,
and economic_results is brought up to date through every step.
"""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from typing import TYPE_CHECKING

from wayfare import landing
from wayfare.local.postgres import EmbeddedPostgres, temporary_server
from wayfare.pipeline import bring_up_to_date
from wayfare.settings import Settings
from wayfare.staging import database

if TYPE_CHECKING:
    from pathlib import Path

ANALYSIS = "economic_results"
PER_DAY = 300
FIRST = dt.date(2023, 1, 1)


def main() -> None:
    """Print seconds of both and their ratio; each is the best of three late events."""
    seconds = {}
    for days in (10, 1_000):
        with temporary_server() as server:
            seconds[days] = measure(server, server.data.parent, days)
        print(f"{days:>6,} days of history {seconds[days]:8.2f} s")
    print(f"{'ratio':>22} {seconds[1_000] / seconds[10]:8.2f}")


def measure(server: EmbeddedPostgres, folder: Path, days: int) -> float:
    """Seconds to publish one late event."""
    settings = Settings(home=folder / "home", database_url=server.url("postgres"))  # type: ignore[arg-type]  # made secret
    database.migrate(settings)
    history = [(day, number) for day in range(days) for number in range(PER_DAY)]
    landing.land(settings, [write(folder / "history.jsonl", history)])
    for _ in bring_up_to_date(settings, ANALYSIS):
        pass
    best = float("inf")
    for number in range(3):
        landing.land(settings, [write(folder / f"late{number}.jsonl", [(days // 2, PER_DAY + number)])])
        started = time.perf_counter()
        (summary,) = bring_up_to_date(settings, ANALYSIS)
        best = min(best, time.perf_counter() - started)
        day = (FIRST + dt.timedelta(days // 2)).isoformat()
        assert summary["chunk"]["days"] == [[day, day]]
    return best


def write(file: Path, bookings: list[tuple[int, int]]) -> str:
    """One booking per (day, number) as JSON Lines."""
    with file.open("w") as out:
        for day, number in bookings:
            on = FIRST + dt.timedelta(day)
            event = {
                "event_type": "booking", "event_id": str(uuid.UUID(int=(day << 32) + number + 1)),
                "schema_version": "1-0-0", "occurred_at": f"{on}T10:00:00Z", "source": "web",
                "booking_id": f"b{day}-{number}", "item_id": "1", "product": "flight", "resource_id": "flight:TP1",
                "destination": "LIS", "start_on": str(on + dt.timedelta(20)), "units": 1, "price": 10_000 + number,
                "currency": "EUR", "point_of_sale": ("PT", "ES", "FR")[number % 3],
            }  # fmt: skip
            out.write(json.dumps(event) + "\n")
    return str(file)


if __name__ == "__main__":
    main()
