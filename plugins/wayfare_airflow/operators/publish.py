"""Puts an audited result before its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from wayfare_airflow.links import MartLink
from wayfare_airflow.operators.chunk import ChunkOperator, refuse_other_code

if TYPE_CHECKING:
    from airflow.sdk import Context

    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class PublishOperator(ChunkOperator):
    """Replaces the chunk's days in the mart by the audited result, in one transaction.

    Refuses a chunk that was planned with other code or settings: what a mended analysis published since would be
    replaced by what it said before. Skipped, and its mart's asset not updated, where every day stands on a later batch.
    Its link leads to the mart.
    """

    operator_extra_links = (MartLink(),)

    def step(self, settings: Settings, chunk: Chunk, context: Context) -> dict[str, Any]:
        """Publish; returns rows and the publication's id."""
        from wayfare import marts

        refuse_other_code(settings, chunk)
        summary = marts.publish(settings, chunk, run_id=context["run_id"])
        if summary["publication_id"] is None:
            raise AirflowSkipException(f"every day of the chunk stands on a later batch and is left so: {summary}")
        return summary
