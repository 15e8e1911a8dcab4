"""The installation as a user starts it: what happens when some of its processes are killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from e2e.native import forks_preloaded
from waiting import until

if TYPE_CHECKING:
    from e2e.installation import Installation


def test_the_scheduler_publishes_though_processes_are_killed(landed: Installation) -> None:
    until(landed.published, 180, landed.status, pause=0.5)
    assert forks_preloaded(landed.pid("scheduler"))
    for name in ("scheduler", "triggerer", "api-server"):
        os.kill(landed.pid(name), signal.SIGKILL)

    landed.wait_until_published()
    assert "scheduler ended with status -9; started it again" in landed.output.read_text()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{landed.ui}/api/v2/dags")
    examined = json.loads(landed.run("doctor", "--json").stdout)
    assert {f["check"] for f in examined} >= {"role.landing", "role.pipeline", "role.bi", "airflow.dags"}
    assert [f for f in examined if f["status"] == "failed" and f["check"] != "versions.packages"] == []
    second = landed.run("up")
    assert second.returncode == 2
    assert "already runs" in second.stderr

    landed.reader.kill()
    landed.reader.wait()
    killed = landed.pid("triggerer")
    os.kill(killed, signal.SIGKILL)
    until(lambda: landed.pid("triggerer") != killed, 60)
