"""What is preloaded is what tasks import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snapshots.staged_events import event, stage

if TYPE_CHECKING:
    from wayfare.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import wayfare_airflow.preloaded
from wayfare.pipeline import bring_up_to_date
from wayfare.settings import get_settings

def packages():
    return {name.partition(".")[0] for name in sys.modules}

known = packages()
(done,) = bring_up_to_date(get_settings(), "destination_demand")
assert done["publish"]["rows"] == 1
print(sorted(packages() - known))
"""


def test_the_steps_of_a_chunk_import_no_other_package(settings: Settings) -> None:
    stage(settings, 1, [event("search", "2026-03-01")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "include"), str(PROJECT / "plugins")])}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr
