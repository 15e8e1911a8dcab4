"""How fast the simulator writes events as Parquet: `python bench/simulate.py [customers] [days]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from wayfare.contracts import EVENT_TYPES
from wayfare.simulator import simulate


def main(customers: int = 200_000, days: int = 10) -> None:
    """Print events a second, by the wall clock and by processor time."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        counts = simulate(Path(folder), days=days, customers=customers, seed=1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    events = sum(counts[name] for name in EVENT_TYPES)
    print(f"{events:,} events, {size / 2**20:,.0f} MiB of Parquet")
    print(f"{events / wall:,.0f} events/s by the clock, {events / cpu:,.0f} events per second of processor time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
