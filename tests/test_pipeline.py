"""The steps as whoever runs them without Airflow does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landing.sample_events import event, query, write

if TYPE_CHECKING:
    from wayfare.settings import Settings


def _second(event_type: str, day: int, **changes: Any) -> dict[str, Any]:
    return event(event_type, day, schema_version="2-0-0", occurred_at=f"2026-03-{day:02}T10:00:00Z", **changes)


def test_an_analysis_of_second_major_versions_is_published(settings: Settings, tmp_path: Path) -> None:
    events = [
        event("booking", 1),
        _second("booking", 3, booking_id="b2", units=2, price=500),
        _second("travel", 10, gate="C3"),
        _second("travel", 11, gate="C3", booking_id="b2"),
        _second("travel", 12, gate="nowhere"),
        _second("travel", 20, gate="D1", booking_id="unknown"),
        event("travel", 27),
    ]
    late = event("cancellation", 4, booking_id="b2", units=2)
    files = [write(tmp_path / "1.jsonl", events), write(tmp_path / "2.jsonl", [late])]
    first, second = _published(files)
    assert first == [
        [[["2026-03-10", "2026-03-20"]]],
        [
            ("2026-03-10", "C3", 1, 10050, True),
            ("2026-03-11", "C3", 2, 500, True),
            ("2026-03-20", "D1", 0, 0, False),
        ],
    ]
    assert second == [[[["2026-03-11", "2026-03-11"]]], [first[1][0], ("2026-03-11", "C3", 0, 0, True), first[1][2]]]
    assert query(settings, "SELECT DISTINCT event_type, event_on::text FROM control.quarantine") == [
        ("travel_v2", "2026-03-12")
    ]
    folders = {path.name for path in Path(settings.storage).joinpath("snapshots").iterdir()}
    assert folders == {"travel_v2"}


def _published(files: list[str]) -> list[Any]:
    """What `second_majors` prints, in a process whose contracts nobody else sees."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WAYFARE_QUARANTINE_SHARE": "1",
    }
    program = "import sys, second_majors; second_majors.main(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]
