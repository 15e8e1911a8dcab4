"""Rejections: listing them, and landing their raw lines again after a fix."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, or_, select

from wayfare.errors import ConfigurationError
from wayfare.landing import csv_lines
from wayfare.landing.decode import decoders
from wayfare.landing.files import stage_all
from wayfare.landing.lines import MAX_RUN_BYTES, TOO_LONG, Lines, decoded
from wayfare.landing.mapping.files import FORMAT, reread
from wayfare.staging.batches import Stager
from wayfare.staging.database import transaction
from wayfare.staging.sealing import seal_of
from wayfare.staging.tables import batch, rejection

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from wayfare.contracts import EventType
    from wayfare.landing.lines import Fault
    from wayfare.settings import Settings
    from wayfare.staging.incoming import Landed

_REPLAY_ROWS = 20_000


@dataclass(slots=True)
class _Left:
    """How many sealed lines did not open, and what to do about the first."""

    count: int = 0
    first: str = ""


def rejections(
    settings: Settings,
    *,
    reason: str | None = None,
    source: str | None = None,
    event_type: str | None = None,
    since: dt.datetime | None = None,
    limit: int = 100,
    raw: bool = True,
) -> list[dict[str, Any]]:
    """Open rejections, newest first: the columns of `staging.rejection` (`raw` in bytes) and `landed_at`.

    `source` is a whole source or the end of its path; `since` bounds when they were landed. Without `raw` the line and
    its header are left out, and no key is needed.

    Raises
    ------
    ConfigurationError
        A line is sealed under another key than `WAYFARE_CUSTOMER_KEY`; names the rejection.
    ServiceError
        PostgreSQL does not answer.
    """
    columns = [c for c in rejection.c if raw or c.name not in {"raw", "header"}]
    joined = select(*columns, batch.c.landed_at).join(batch, batch.c.batch_id == rejection.c.batch_id)
    query = _open(joined, reason, source, event_type, since)
    rows = _rows(settings, query.order_by(rejection.c.rejection_id.desc()).limit(limit))
    if not raw:
        return rows
    opened, shut = _unsealed(settings, rows)
    if shut:
        raise ConfigurationError(f"{_shut(settings, shut[0])}; without --json they are listed all the same")
    return opened


def counted(
    settings: Settings,
    *,
    by: str = "reason",
    reason: str | None = None,
    source: str | None = None,
    event_type: str | None = None,
    since: dt.datetime | None = None,
) -> dict[str, int]:
    """How many of the rejections that `rejections` would list have each `by`, "reason" or "event_type".

    Those whose event type could not be read are under the empty text.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    known = func.coalesce(rejection.c[by], "").label("known")
    joined = select(*[known, func.count().label("n")]).join(batch, batch.c.batch_id == rejection.c.batch_id)
    rows = _rows(settings, _open(joined, reason, source, event_type, since).group_by(known))
    return {row["known"]: row["n"] for row in rows}


def replay(
    settings: Settings,
    *,
    reason: str | None = None,
    source: str | None = None,
    contracts: Sequence[EventType] | None = None,
) -> Landed:
    """Land the raw lines of open rejections again, all or those of a reason or a source.

    What is staged now, or was staged meanwhile, is marked as resolved in the same transaction; the rest stays open with
    its new reason. A line of which only the beginning is kept is left alone.

    Raises
    ------
    ConfigurationError
        Lines are sealed under another key than `WAYFARE_CUSTOMER_KEY`: they stay open, all others were replayed.
    ServiceError
        PostgreSQL does not answer; replay again to continue.
    """
    left = _Left()
    with decoders(settings, contracts) as decoding, Stager(settings) as stager:
        landed = stage_all(stager, _runs(settings, reason, source, left), decoding, replayed=True)
    if left.count:
        counts = landed.summary("lines read")
        raise ConfigurationError(
            f"{left.count:,} sealed lines stay open, the others are replayed ({counts}); {left.first}"
        )
    return landed


def _runs(settings: Settings, reason: str | None, source: str | None, left: _Left) -> Iterator[Lines]:
    """Open rejections as lines whose number is the id of the rejection; those that do not open are `left`."""
    number, last = rejection.c.rejection_id, 0
    query = _open(select(rejection), reason, source).where(rejection.c.reason != TOO_LONG).order_by(number)
    size = func.octet_length(rejection.c.raw) + func.coalesce(func.octet_length(rejection.c.header), 0)
    sizes = query.with_only_columns(number, size.label("size"))
    sizes = sizes.limit(min(settings.landing_rows, _REPLAY_ROWS))
    while ahead := _rows(settings, sizes.where(number > last)):
        first, last = last + 1, _end_of_run(ahead)
        rows, shut = _unsealed(settings, _rows(settings, query.where(number.between(first, last))))
        left.count += len(shut)
        left.first = left.first or (_shut(settings, shut[0]) if shut else "")
        foreign = [row for row in rows if row["format"].startswith(FORMAT)]
        own = [row for row in rows if not row["format"].startswith(FORMAT)]
        if own:
            yield _lines(own)
        yield from reread(settings, foreign)


def _end_of_run(ahead: list[dict[str, Any]]) -> int:
    """The last of the rejections `ahead` that fit into a run."""
    fitting = bisect_right(list(accumulate(row["size"] for row in ahead)), MAX_RUN_BYTES)
    return int(ahead[max(fitting, 1) - 1]["rejection_id"])


def _open(
    query: Select[Any],
    reason: str | None,
    source: str | None,
    event_type: str | None = None,
    since: dt.datetime | None = None,
) -> Select[Any]:
    query = query.where(rejection.c.resolved_batch_id.is_(None))
    if reason is not None:
        query = query.where(rejection.c.reason == reason)
    if source is not None:
        ends = rejection.c.source.endswith("/" + source, autoescape=True)
        query = query.where(or_(rejection.c.source == source, ends))
    if event_type is not None:
        query = query.where(rejection.c.event_type == event_type)
    if since is not None:
        query = query.where(batch.c.landed_at >= since)
    return query


def _rows(settings: Settings, query: Select[Any]) -> list[dict[str, Any]]:
    with transaction(settings.url("landing")) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _unsealed(settings: Settings, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows with `raw` and `header` as they came; and those that are sealed under another key."""
    seal = seal_of(settings)
    opened, shut = [], []
    for row in rows:
        if not row["sealed"]:
            opened.append(row)
        elif seal and (kept := seal.open(row["raw"], row["line"], row["source"], row["format"])):
            opened.append(row | dict(zip(("header", "raw"), kept, strict=True)))
        else:
            shut.append(row)
    return opened, shut


def _shut(settings: Settings, row: dict[str, Any]) -> str:
    key = "WAYFARE_CUSTOMER_KEY"
    why = f"it does not open with this {key}" if settings.customer_key else f"{key} is not set"
    return (
        f"rejection {row['rejection_id']} of batch {row['batch_id']} ({row['source']}:{row['line']}) is sealed and "
        f"{why}: set the key that it was landed with (docs/operations.md says what to do where that is lost)"
    )


def _lines(rows: list[dict[str, Any]]) -> Lines:
    return Lines.of("replay", "jsonl", [(row["rejection_id"], row["raw"], _text(row)) for row in rows])


def _text(row: dict[str, Any]) -> str | Fault:
    if row["format"] == "csv":
        return csv_lines.reread(row["raw"], row["header"], csv_lines.of_events())
    return decoded(row["raw"], row["line"])
