"""Rejections: listing them, and landing their raw lines again after a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import Select, or_, select

from wayfare.landing import csv_lines, mapping_files
from wayfare.landing.decode import decoders
from wayfare.landing.files import stage_all
from wayfare.landing.lines import NOT_UTF8, TOO_LONG, Fault, Lines
from wayfare.staging.batches import Stager
from wayfare.staging.database import transaction
from wayfare.staging.tables import batch, rejection

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from wayfare.contracts import EventType
    from wayfare.settings import Settings
    from wayfare.staging.incoming import Landed

_REPLAY_ROWS = 20_000


def rejections(
    settings: Settings,
    *,
    reason: str | None = None,
    source: str | None = None,
    event_type: str | None = None,
    since: dt.datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Open rejections, newest first: the columns of `staging.rejection` (`raw` in bytes) and `landed_at`.

    `source` is a whole source or the end of its path; `since` bounds when they were landed.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    query = select(rejection, batch.c.landed_at).join(batch, batch.c.batch_id == rejection.c.batch_id)
    query = _open(query, reason, source)
    if event_type is not None:
        query = query.where(rejection.c.event_type == event_type)
    if since is not None:
        query = query.where(batch.c.landed_at >= since)
    return _rows(settings, query.order_by(rejection.c.rejection_id.desc()).limit(limit))


def replay(
    settings: Settings,
    *,
    reason: str | None = None,
    source: str | None = None,
    contracts: Sequence[EventType] | None = None,
) -> Landed:
    """Land the raw lines of open rejections again, all or those of a reason or a source.

    What is staged now, or was staged meanwhile, is marked as settled in the same transaction; the rest stays open with
    its new reason. A line of which only the beginning is kept is left alone.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer; replay again to go on.
    """
    with decoders(settings, contracts) as decoding, Stager(settings) as stager:
        return stage_all(stager, _runs(settings, reason, source), decoding, replayed=True)


def _runs(settings: Settings, reason: str | None, source: str | None) -> Iterator[Lines]:
    """Open rejections as lines whose number is the id of the rejection."""
    last = 0
    query = _open(select(rejection), reason, source).where(rejection.c.reason != TOO_LONG)
    query = query.order_by(rejection.c.rejection_id).limit(min(settings.landing_rows, _REPLAY_ROWS))
    while rows := _rows(settings, query.where(rejection.c.rejection_id > last)):
        last = rows[-1]["rejection_id"]
        foreign = [row for row in rows if row["format"].startswith(mapping_files.FORMAT)]
        own = [row for row in rows if not row["format"].startswith(mapping_files.FORMAT)]
        if own:
            yield _lines(own)
        yield from mapping_files.reread(foreign)


def _open(query: Select[Any], reason: str | None, source: str | None) -> Select[Any]:
    query = query.where(rejection.c.resolved_batch_id.is_(None))
    if reason is not None:
        query = query.where(rejection.c.reason == reason)
    if source is not None:
        ends = rejection.c.source.endswith("/" + source, autoescape=True)
        query = query.where(or_(rejection.c.source == source, ends))
    return query


def _rows(settings: Settings, query: Select[Any]) -> list[dict[str, Any]]:
    with transaction(settings.url("landing")) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _lines(rows: list[dict[str, Any]]) -> Lines:
    faults = dict[int, Fault]()
    texts = []
    for i, row in enumerate(rows):
        text, fault = _text(row)
        texts.append(text)
        if fault:
            faults[i] = fault
    table = pa.table(
        {
            "line": pa.array([row["rejection_id"] for row in rows], pa.int64()),
            "raw": pa.array([row["raw"] for row in rows], pa.binary()),
            "json": pa.array(texts, pa.string()),
        }
    )
    return Lines("replay", "jsonl", table, faults)


def _text(row: dict[str, Any]) -> tuple[str | None, Fault | None]:
    if row["format"] == "csv":
        return csv_lines.reread(row["raw"], row["header"])
    try:
        return row["raw"].decode(), None
    except UnicodeDecodeError:
        return None, NOT_UTF8
