"""Computes an analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.operators.chunk import ChunkOperator

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class AnalyzeOperator(ChunkOperator):
    """Computes the chunk's rows of the mart from the day files, into a file beside the chunk's others.

    Needs `extract` and `validate` of the same chunk to have run.
    """

    def step(self, settings: Settings, chunk: Chunk, _run_id: str) -> dict[str, Any]:
        """Analyze; returns the number of rows."""
        from wayfare import engines

        return engines.analyze(settings, chunk)
