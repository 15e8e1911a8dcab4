"""The steps in their order, for whoever runs them without Airflow: the command line, a notebook, a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare import engines, marts, quality, snapshots

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from wayfare.settings import Settings


def bring_up_to_date(
    settings: Settings,
    analysis: str,
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
    force: bool = False,
) -> Iterator[dict[str, Any]]:
    """Plan the stale output days of an analysis and publish them; yields one summary per chunk.

    A summary has `chunk` (as `Chunk.to_json`) and what each step returned: `extract`, `validate`, `analyze`, `audit`,
    `publish`. `first` and `last` bound the output days; `force` redoes fresh ones.

    Raises
    ------
    GateError
        A gate refused a chunk; earlier chunks stay published.
    """
    for chunk in marts.plan(settings, analysis, first=first, last=last, force=force):
        yield {
            "chunk": chunk.to_json(),
            "extract": snapshots.extract(settings, chunk),
            "validate": quality.validate(settings, chunk),
            "analyze": engines.analyze(settings, chunk),
            "audit": quality.audit(settings, chunk),
            "publish": marts.publish(settings, chunk, run_id="cli"),
        }
