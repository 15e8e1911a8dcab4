"""Finds the output days of an analysis that are stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf

from wayfare.errors import ConfigurationError
from wayfare.settings import get_settings
from wayfare_airflow.params import requested
from wayfare_airflow.retries import RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, RetryPolicy


class PlanOperator(BaseOperator):
    """Compares what is published with what is staged, and returns the chunks of work: a list of small dicts.

    Map the chunk operators over its output; an empty list means that everything is fresh. The params `from`, `to`
    and `force`, of the task or of its DAG, narrow or widen the plan (`wayfare_airflow.params.form`). Airflow maps a
    task at most `core.max_map_length` times; what is beyond stays stale, and the next run plans it. What is forced
    would not be planned again: more of it is refused.

    Parameters
    ----------
    analysis
        Name of the analysis.
    """

    template_fields: Sequence[str] = ("analysis",)

    def __init__(self, *, analysis: str, retry_policy: RetryPolicy | None = RETRY_POLICY, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)  # in the signature, where partial() looks for defaults
        self.analysis = analysis

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan; the chunks become the XCom."""
        from wayfare import marts

        first, last, force = requested(context["params"])
        chunks = marts.plan(get_settings(), self.analysis, first=first, last=last, force=force)
        self.log.info(
            "plan %s: %d stale days in %d chunks", self.analysis, sum(len(c.days) for c in chunks), len(chunks)
        )
        longest = conf.getint("core", "max_map_length")
        if len(chunks) > longest and force:
            raise ConfigurationError(
                f"{len(chunks)} chunks are more than one run takes ({longest}); force fewer days, ending with "
                f"{chunks[longest - 1].days[-1]}, and the others after them"
            )
        if len(chunks) > longest:
            self.log.warning("plan %s: the first %d chunks now, the rest in the next run", self.analysis, longest)
        return [chunk.to_json() for chunk in chunks[:longest]]
