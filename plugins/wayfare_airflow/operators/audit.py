"""The gate after an analysis: judges its result before anyone sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.links import DataDocsLink
from wayfare_airflow.operators.chunk import ChunkOperator

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class AuditOperator(ChunkOperator):
    """Judges the chunk's result: unique keys, no NULL where none is declared, totals that reconcile with the input.

    Fails at once, without a retry, where the result is wrong; nothing is published then. A day with events and no rows
    is a warning. Its link leads to the verdicts in Data Docs, also when it failed.
    """

    operator_extra_links = (DataDocsLink("output"),)

    def step(self, settings: Settings, chunk: Chunk, _run_id: str) -> dict[str, Any]:
        """Audit; returns the verdict's summary."""
        from wayfare import quality

        return quality.audit(settings, chunk)
