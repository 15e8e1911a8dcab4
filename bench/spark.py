"""Analyses on DuckDB and on Spark over the same day files, each within the memory a task gets.

    python bench/spark.py [--events 10000000] [--days 60] [--heap 4g] [ANALYSIS ...]

Prints seconds of processor time and of the clock, peak memory, and whether both gave the same rows. DuckDB works within
the settings' memory limit and threads, or the line says that it could not. Spark is one server with two cores and
`--heap`; its first analysis also pays for what Java compiles.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import psutil
from pydantic import SecretStr

import spark_server
from analyses import compared
from apart import in_process, peak
from day_files import chunk_of, installation
from wayfare import engines
from wayfare.errors import ConfigurationError
from wayfare.local.postgres import temporary_server

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings

CHOSEN = ("destination_demand", "sessions", "economic_results", "customer_behavior", "channel_attribution")


def main() -> None:
    """Make the day files, then run each analysis on both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analyses", nargs="*", metavar="ANALYSIS", default=CHOSEN)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--heap", default="4g")
    arguments = parser.parse_args()
    with temporary_server() as postgres, tempfile.TemporaryDirectory() as folder:
        settings = installation(postgres, arguments.events, arguments.days)
        with spark_server.running(Path(folder), arguments.heap, small=False) as server:
            told = {"engine": "spark", "spark_remote": SecretStr(server.url)}
            spark = settings.model_copy(update=told)
            print(f"{'':24}{'DuckDB cpu':>12}{'clock':>10}{'peak':>10}{'Spark cpu':>12}{'clock':>10}{'peak':>10}")
            for name in arguments.analyses:
                _report(settings, spark, chunk_of(name, arguments.days), psutil.Process(server.process.pid))


def _report(settings: Settings, spark: Settings, chunk: Chunk, server: psutil.Process) -> None:
    url = chunk.result(settings.storage)
    kept = f"{url}.duckdb"
    try:
        told = _figures(*in_process(_measured, settings, chunk))
        shutil.copyfile(url, kept)
    except ConfigurationError:
        told = f"{'out of memory':>32}"
    before = sum(server.cpu_times()[:2])
    client, clock, _ = in_process(_measured, spark, chunk)
    told += _figures(client + sum(server.cpu_times()[:2]) - before, clock, peak(server.pid))
    verdict = in_process(compared, kept, url) if Path(kept).exists() else "nothing to compare with"
    print(f"{chunk.analysis:24}{told}  {verdict}", flush=True)


def _measured(settings: Settings, chunk: Chunk) -> tuple[float, float, float]:
    """Seconds of processor time and of the clock, peak resident MB, of this process."""
    clock = time.monotonic()
    engines.analyze(settings, chunk)
    return time.process_time(), time.monotonic() - clock, peak()


def _figures(cpu: float, clock: float, peak: float) -> str:
    return f"{cpu:10.1f} s{clock:8.1f} s{peak:7.0f} MB"


if __name__ == "__main__":
    main()
