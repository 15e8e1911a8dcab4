"""The gate before an analysis: judges its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.links import DataDocsLink
from wayfare_airflow.operators.chunk import ChunkOperator

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class ValidateOperator(ChunkOperator):
    """Judges the chunk's input; rows that break a critical expectation are quarantined and left out.

    Fails at once, without a retry, where more than the allowed share would be left out, or where the input as a whole
    breaks a critical rule. Its link leads to the verdicts in Data Docs, also when it failed.
    """

    operator_extra_links = (DataDocsLink("input"),)

    def step(self, settings: Settings, chunk: Chunk, _run_id: str) -> dict[str, Any]:
        """Validate; returns the verdict's summary."""
        from wayfare import quality

        return quality.validate(settings, chunk)
