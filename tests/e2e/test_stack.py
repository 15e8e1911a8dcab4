"""The installation as a user starts it: real processes, the real scheduler, and what happens when some are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.native import pause_all_but
from waiting import until
from wayfare.local.postgres import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
ANALYSES = ("capacity_alerts", "customer_behavior", "destination_demand", "economic_results", "inventory_requirements")
"""Those that run; the others are paused, so that the test is about the processes."""


class Installation:
    """`wayfare up` in a home of its own, and the command line beside it."""

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

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from wayfare.cli import main; main()", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), env=self.environment, capture_output=True, text=True)

    def up(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as out:
            process = subprocess.Popen(self.command("up"), env=self.environment, stdout=out, stderr=out)
        until(lambda: "Everything keeps running" in self.output.read_text(), 240, self.output.read_text)
        return process

    def status(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("status", "--json").stdout)
        return [row for row in found if row["analysis"] in ANALYSES]

    def pause_others(self) -> bool:
        """Pause all but `ANALYSES`, once every DAG is known."""
        secrets = dict(line.split("=", 1) for line in (self.home / "secrets.env").read_text().splitlines())
        url = secrets["WAYFARE_DATABASE_URL"].strip("'\"").rsplit("/", 1)[0] + "/airflow"
        return pause_all_but(ANALYSES, url)

    def pid(self, name: str) -> int:
        return int((self.home / "logs" / f"{name}.pid").read_text().split()[0])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "home")
    process = made.up()
    yield made
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0, made.output.read_text()
    assert not (made.home / "postgres" / "postmaster.pid").exists(), "the database stopped with the rest"


def test_the_scheduler_publishes_though_processes_are_killed(installation: Installation, tmp_path: Path) -> None:
    until(installation.pause_others, 120, installation.status, pause=1)
    events = tmp_path / "events"
    simulated = installation.run("simulate", "--days", "4", "--customers", "60", "--seed", "3", "--out", str(events))
    assert simulated.returncode == 0, simulated.stdout + simulated.stderr
    landed = installation.run("land", *sorted(str(f) for f in events.rglob("*.parquet")))
    assert landed.returncode == 0, landed.stdout + landed.stderr
    until(lambda: any(row["rows"] for row in installation.status()), 180, installation.status, pause=1)
    for name in ("scheduler", "triggerer", "api-server"):
        os.kill(installation.pid(name), signal.SIGKILL)

    until(
        lambda: all(row["stale_days"] == 0 and row["rows"] for row in installation.status()),
        300,
        installation.status,
        pause=1,
    )
    assert "scheduler ended with status -9; starting it again" in installation.output.read_text()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{installation.ui}/api/v2/dags")
    examined = json.loads(installation.run("doctor", "--json").stdout)
    assert {f["check"] for f in examined} >= {"role.landing", "role.pipeline", "role.bi", "airflow.dags"}
    assert [f for f in examined if f["status"] == "failed" and f["check"] != "versions.packages"] == []
    second = installation.run("up")
    assert second.returncode == 2
    assert "already runs" in second.stderr
