"""Computes an analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.operators.chunk import ChunkOperator, refuse_other_code

if TYPE_CHECKING:
    from airflow.sdk import Context

    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class AnalyzeOperator(ChunkOperator):
    """Computes the chunk's rows of the mart from the day files, into a file beside the chunk's others.

    Needs `extract` and `validate` of the same chunk to have run. Refuses a chunk that was planned with other code or
    settings than this worker has: its rows would be published as what they are not.
    """

    def step(self, settings: Settings, chunk: Chunk, context: Context) -> dict[str, Any]:  # noqa: ARG002 - the step's face
        """Analyze; returns the number of rows."""
        from wayfare import engines

        refuse_other_code(settings, chunk)
        return engines.analyze(settings, chunk)
