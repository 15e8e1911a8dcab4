"""Writes the day files that a chunk reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.operators.chunk import ChunkOperator

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class ExtractOperator(ChunkOperator):
    """Writes the day files that the chunk reads and that do not exist yet, from staging as of the chunk's batch.

    Running it again writes nothing. Faults of PostgreSQL and of the storage are retried.
    """

    def step(self, settings: Settings, chunk: Chunk, _run_id: str) -> dict[str, Any]:
        """Extract; returns files written, files reused and rows."""
        from wayfare import snapshots

        return snapshots.extract(settings, chunk)
