"""`wayfare simulate`: files where asked for, and how many of what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from wayfare.cli.simulate import app

if TYPE_CHECKING:
    from pathlib import Path


def test_simulate_writes_files_and_counts(tmp_path: Path) -> None:
    arguments = ["--days", "2", "--customers", "60", "--start", "2024-02-28", "--format", "jsonl", "--bots", "0"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out"), "--duplicate-share", "0", "--json"])
    assert done.exit_code == 0, done.output
    counts = json.loads(done.output)
    searches = b"".join(f.read_bytes() for f in (tmp_path / "out").glob("2024-02-2[89]-search.jsonl")).splitlines()
    assert len(searches) == counts["search"] > 0
    assert counts["bot_searches"] == counts["duplicate"] == 0
    assert {"event_id", "occurred_at", "event_type"} <= json.loads(searches[0]).keys()
