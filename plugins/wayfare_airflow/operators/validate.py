"""The gate before an analysis: judges its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare_airflow.links import DataDocsLink
from wayfare_airflow.operators.chunk import ChunkOperator, refuse_other_code

if TYPE_CHECKING:
    from airflow.sdk import Context

    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


class ValidateOperator(ChunkOperator):
    """Judges the chunk's input; rows that break a critical expectation are quarantined and left out.

    Refuses a chunk that was planned with other code or settings. Fails at once, without a retry, where more than the
    allowed share would be left out or the batch as a whole is not credible. Its link leads to the verdicts in Data
    Docs, also when it failed.
    """

    operator_extra_links = (DataDocsLink("input"),)

    def step(self, settings: Settings, chunk: Chunk, context: Context) -> dict[str, Any]:  # noqa: ARG002 - the step's face
        """Validate; returns the verdict's summary."""
        from wayfare import quality

        refuse_other_code(settings, chunk)
        return quality.validate(settings, chunk)
