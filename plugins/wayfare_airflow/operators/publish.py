"""Puts an audited result before its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from wayfare_airflow.links import MartLink
from wayfare_airflow.operators.chunk import ChunkOperator

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class PublishOperator(ChunkOperator):
    """Replaces the chunk's days in the mart by the audited result, in one transaction.

    Skipped, and its mart's asset not updated, where every day is already published from a later batch. Its link
    leads to the mart.
    """

    operator_extra_links = (MartLink(),)

    def step(self, settings: Settings, chunk: Chunk, run_id: str) -> dict[str, Any]:
        """Publish; returns the mart, the publication's id, rows, days, and days left as they are."""
        from wayfare import marts

        summary = marts.publish(settings, chunk, run_id=run_id)
        if summary["publication_id"] is None:
            raise AirflowSkipException(f"every day of the chunk is already published from a later batch: {summary}")
        return summary
