"""The installation as a user starts it: real processes, the real scheduler, and five analyses over four days."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from dotenv import dotenv_values

from e2e.native import pause_all_but
from waiting import until
from wayfare.local.postgres import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
ANALYSES = ("capacity_alerts", "customer_behavior", "destination_demand", "economic_results", "inventory_requirements")
"""Those that run; the others are paused, so that tests are about the processes."""


class Installation:
    """`wayfare up` in a home of its own, and the command line beside it; only `ANALYSES` are not paused."""

    def __init__(self, home: Path) -> None:
        ports = [free_port(), free_port()]
        self.home = home
        self.ui = f"http://127.0.0.1:{ports[0]}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WAYFARE_", "AIRFLOW_"))}
        self.environment = kept | {
            "PYTHONPATH": str(PROJECT / "include"),
            "WAYFARE_HOME": str(home),
            "WAYFARE_PORT": str(ports[0]),
            "WAYFARE_DATABASE_PORT": str(ports[1]),
            "WAYFARE_DEBOUNCE_SECONDS": "1",
        }
        self.output = home.parent / "up.txt"
        self.reader: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from wayfare.cli import main; main()", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), env=self.environment, capture_output=True, text=True)

    def start(self) -> subprocess.Popen[bytes]:
        """`up`, whose output goes through a pipe: its `reader` may end before it."""
        with self.output.open("ab") as out:
            up = subprocess.Popen(self.command("up"), env=self.environment, stdout=subprocess.PIPE, stderr=out)
            self.reader = subprocess.Popen(["cat"], stdin=up.stdout, stdout=out, start_new_session=True)
        up.stdout.close()
        return up

    def is_up(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.output.read_text()
        return "Everything keeps running" in self.output.read_text()

    def land_days(self) -> None:
        """Land four simulated days, once every DAG is known and those beside `ANALYSES` are paused."""
        until(self._pause_others, 120, self.status, pause=1)
        events = self.home.parent / "events"
        simulated = self.run("simulate", "--days", "4", "--customers", "60", "--seed", "3", "--out", str(events))
        assert simulated.returncode == 0, simulated.stdout + simulated.stderr
        landed = self.run("land", *sorted(str(f) for f in events.rglob("*.parquet")))
        assert landed.returncode == 0, landed.stdout + landed.stderr

    def wait_until_published(self) -> None:
        """Return once all of `ANALYSES` are published and the UI answers."""
        until(lambda: self.published() == set(ANALYSES) and not self._runs(), 480, self.status, pause=1)
        until(lambda: all(r["stale_days"] == 0 and r["rows"] for r in self.status()), 480, self.status, pause=3)
        until(self._answers, 180, self.output.read_text, pause=0.5)

    def _answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.ui}/api/v2/monitor/health", timeout=10).status == 200
        except OSError:
            return False

    def _runs(self) -> bool:
        """Whether a run is not over, of those that are not paused: only then is `status` worth its seconds."""
        query = "SELECT FROM dag_run WHERE state IN ('queued', 'running') AND dag_id = ANY (%s)"
        with psycopg.connect(self._airflow()) as connection:
            return connection.execute(query, [list(ANALYSES)]).fetchone() is not None

    def published(self) -> set[str]:
        """The analyses that were ever published: asked of the database, because `status` takes a second each time."""
        with psycopg.connect(self._database()) as connection:
            return {name for (name,) in connection.execute("SELECT DISTINCT analysis FROM control.publication")}

    def status(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("status", "--json").stdout)
        return [row for row in found if row["analysis"] in ANALYSES]

    def _pause_others(self) -> bool:
        return pause_all_but(ANALYSES, self._airflow())

    def _airflow(self) -> str:
        return self._database().rsplit("/", 1)[0] + "/airflow"

    def _database(self) -> str:
        return dotenv_values(self.home / "secrets.env")["WAYFARE_DATABASE_URL"] or ""

    def pid(self, name: str) -> int:
        return int((self.home / "logs" / f"{name}.pid").read_text().split()[0])


@contextmanager
def running(home: Path) -> Iterator[Installation]:
    """An installation that is up; it must stop as it should."""
    made = Installation(home)
    process = made.start()
    try:
        until(lambda: made.is_up(process), 240, made.output.read_text)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, made.output.read_text()
        assert not (made.home / "postgres" / "postmaster.pid").exists(), "the database stopped with the rest"
