"""An analysis in a package of its own: installed beside Wayfare, found, checked and published like any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from wayfare import landing, simulator

if TYPE_CHECKING:
    from wayfare.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that the example package is installed into, for `PYTHONPATH`."""
    source = shutil.copytree(PROJECT / "examples" / "weekend_breaks", tmp_path / "source")
    target = tmp_path / "site-packages"
    arguments = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([sys.executable, "-m", "uv", "pip", *arguments], check=True)
    return target


def test_an_installed_analysis_is_published(settings: Settings, tmp_path: Path, installed: Path) -> None:
    simulator.simulate(tmp_path / "events", days=3, customers=500, seed=1, broken_share=0.0)
    landing.land(settings, sorted(str(f) for f in (tmp_path / "events").glob("*.parquet")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), str(PROJECT / "include")])}

    def wayfare(*arguments: str) -> str:
        program = "from wayfare.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    wayfare("check")
    wayfare("run", "weekend_breaks")
    status = {row["analysis"]: row for row in json.loads(wayfare("status", "--json"))}
    assert status["weekend_breaks"]["stale_days"] == 0
    assert status["weekend_breaks"]["audit"] == "passed"
    expected = """
        SELECT count(*), count(*) FILTER (
          WHERE extract(isodow FROM start_on) IN (4, 5, 6) AND end_on - start_on BETWEEN 1 AND 3)
        FROM staging.booking WHERE NOT is_test
    """
    with psycopg.connect(settings.url("owner")) as connection:
        sold = connection.execute(expected).fetchone()
        assert sold is not None
        assert sold[1] > 0
        published = connection.execute("SELECT sum(trips), sum(weekend_breaks) FROM bi.weekend_breaks").fetchone()
    assert published == sold
