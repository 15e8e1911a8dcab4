"""Removes what the pipeline no longer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from wayfare.settings import get_settings
from wayfare_airflow.retries import RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, RetryPolicy


class PruneOperator(BaseOperator):
    """Removes what nothing needs any more, and folds the change log of old batches.

    Removed are hand-over folders, superseded day files, XComs, leftovers and verdicts.

    Parameters
    ----------
    keep_days
        Days that they are kept, at least 1; a number or a template that renders to one.
    """

    template_fields: Sequence[str] = ("keep_days",)

    def __init__(self, *, keep_days: int | str, retry_policy: RetryPolicy | None = RETRY_POLICY, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)  # in the signature, where partial() looks for defaults
        self.keep_days = keep_days

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's signature
        """Prune; returns files and verdicts removed, and rows of the change log folded away."""
        from wayfare import maintenance

        return maintenance.prune(get_settings(), keep_days=int(self.keep_days))
