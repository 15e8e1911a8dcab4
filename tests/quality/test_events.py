"""What is set aside, where it is much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from quality.selling import DAY, chunk_of
from wayfare.quality.events import quarantined
from wayfare.quality.gates import _BROKEN

if TYPE_CHECKING:
    from pathlib import Path


def test_many_events_are_recorded_and_named_within_duckdb_s_memory(tmp_path: Path) -> None:
    limits = {"memory_limit": "80MB", "threads": 1, "temp_directory": str(tmp_path)}
    with duckdb.connect(config=limits) as connection:
        connection.execute(
            f"CREATE TABLE booking AS SELECT CAST(CAST(i AS uhugeint) AS uuid) AS event_id, DATE '{DAY}' AS event_on "
            "FROM range(400_000) AS r (i)"
        )
        connection.execute(
            "CREATE TABLE quarantined AS SELECT 'booking' AS event_type, event_id, 'r' AS rule FROM booking"
        )
        sizes = [batch.num_rows for batch in quarantined(connection, chunk_of())]
        assert (sum(sizes), max(sizes) < 200_000) == (400_000, True)
        connection.execute("SET memory_limit = '40MB'")
        ids = [f"00000000-0000-0000-0000-00000000000{n}" for n in range(5)]
        assert connection.execute(_BROKEN).fetchall() == [("booking", "r", 400_000, ids)]
