"""What the operators that work on one chunk share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from wayfare.analyses.chunk import Chunk
from wayfare.errors import ConfigurationError
from wayfare.settings import get_settings
from wayfare_airflow.retries import RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, RetryPolicy, XComArg

    from wayfare.settings import Settings


class ChunkOperator(BaseOperator):
    """Does one step of the pipeline on a chunk of output days, and returns the step's summary.

    Refuses a chunk that was planned with other code or settings than this worker has: it would be published as what it
    is not, in place of what a corrected analysis has published since.

    Parameters
    ----------
    chunk
        A chunk as `PlanOperator` returns it. `.partial(task_id=...).expand(chunk=plan.output)` makes a task for each,
        and none where nothing is stale. One by itself is its dict, or a template that renders to its JSON
        (`docs/dags.md` shows one), not `plan.output[0]`.
    """

    template_fields: Sequence[str] = ("chunk",)
    template_fields_renderers = {"chunk": "json"}  # noqa: RUF012 - declared so by BaseOperator

    def __init__(
        self,
        *,
        chunk: dict[str, Any] | str | XComArg,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        map_index_template: str | None = "{{ days }}",
        **kwargs: Any,
    ) -> None:
        # in the signature, where partial() looks for defaults
        super().__init__(retry_policy=retry_policy, map_index_template=map_index_template, **kwargs)
        self.chunk = chunk

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; its summary becomes the XCom."""
        chunk = read_chunk(self.chunk)
        # the name that the UI shows for this chunk's tasks
        context["days"] = f"{chunk.days[0]} to {chunk.days[-1]}"  # type: ignore[typeddict-unknown-key]
        settings = get_settings()
        _refuse_other_code(settings, chunk)
        summary = self.step(settings, chunk, context["run_id"])
        self.log.info("%s %s: %s", self.task_id, chunk.analysis, summary)
        return summary

    def step(self, settings: Settings, chunk: Chunk, run_id: str) -> dict[str, Any]:
        """The step itself; returns a summary that is small and JSON-able."""
        raise NotImplementedError


def _refuse_other_code(settings: Settings, chunk: Chunk) -> None:
    from wayfare.analyses import registry
    from wayfare.marts.fingerprint import fingerprint

    if fingerprint(settings, registry.get(chunk.analysis)) != chunk.fingerprint:
        raise ConfigurationError(
            f"analysis {chunk.analysis}: this worker has other code or settings than the plan was made with; once "
            "all workers have the same, clear the run from task `plan` onwards, or start a new one"
        )


def read_chunk(value: Any) -> Chunk:
    """The chunk that a rendered template field holds.

    Raises
    ------
    ConfigurationError
        It holds something else.
    """
    try:
        return Chunk.from_json(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"chunk is {value!r}; give it what PlanOperator returned: .partial(task_id=...).expand(chunk=plan.output); "
            "if that is what it has, plan's XCom was pruned since: clear the run from task `plan` onwards"
        ) from error
