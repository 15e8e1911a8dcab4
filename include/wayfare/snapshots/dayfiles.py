"""Which day files a chunk reads, from the change log alone, and the columns they have."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import text

from wayfare.analyses import registry
from wayfare.analyses.chunk import spans
from wayfare.contracts import EVENT_TYPES, Kind
from wayfare.errors import DataError
from wayfare.snapshots.references import REFERENCE_COLUMNS, version
from wayfare.staging.database import transaction

if TYPE_CHECKING:
    from wayfare.analyses.chunk import Chunk
    from wayfare.contracts import EventType
    from wayfare.settings import Settings

# Each day's last batch, when that was landed, and how many events the day holds by then.
_TOUCHED = text("""
SELECT event_type, event_on, batch_id, (extract(epoch FROM landed_at) * 1000000)::bigint, events
FROM (
  SELECT c.event_type, c.event_on, max(c.batch_id) AS batch_id, sum(c.rows)::bigint AS events
  FROM unnest(CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS span (first_on, last_on)
  JOIN control.change c ON c.event_on BETWEEN span.first_on AND span.last_on
  WHERE c.event_type = ANY(:types) AND coalesce(c.first_batch_id, c.batch_id) <= :through
  GROUP BY c.event_type, c.event_on
) AS touched JOIN control.batch USING (batch_id)
ORDER BY event_type, event_on
""")


@dataclass(frozen=True, slots=True)
class DayFile:
    """The events of one type and day as of `batch_id`, the last batch that touched them; `events` is how many.

    `landed_at` is when that batch was landed, in microseconds since 1970: a database that is new, or restored from a
    backup, gives the same ids to other batches, and their files may be in the storage.
    """

    event_type: str
    event_on: dt.date
    batch_id: int
    landed_at: int
    events: int

    def url(self, storage: str) -> str:
        """Where it is, below the storage's path or URL."""
        event_type = EVENT_TYPES[self.event_type]
        batch = f"{self.batch_id}-{self.landed_at:x}"
        name = f"{batch}.{version(event_type)}" if event_type.refers else batch
        return f"{storage}/snapshots/{self.event_type}/{self.event_on.isoformat()}/{name}.parquet"


@functools.cache
def schema(event_type: EventType) -> pa.Schema:
    """Columns of a type's day files: staged, UUIDs as `pa.uuid()`, then the reference columns where it refers."""
    uuids = {f.name for f in event_type.fields if f.kind is Kind.UUID}
    staged = [f.with_type(pa.uuid()) if f.name in uuids else f for f in event_type.staged_schema]
    return pa.schema([*staged, *(c.arrow for c in REFERENCE_COLUMNS)] if event_type.refers else staged)


def real(event_type: EventType) -> str:
    """SQL condition of the events of a type that are no tests, nor about the sale of one."""
    return f"is_test IS NOT TRUE{' AND item_is_test IS NOT TRUE' if event_type.refers else ''}"


def day_files(settings: Settings, chunk: Chunk) -> list[DayFile]:
    """The day files that `chunk` reads, by type and day.

    Raises
    ------
    DataError
        What a day was as of the chunk's batch is no longer known: the change log was folded since.
    ServiceError
        PostgreSQL does not answer.
    """
    analysis = registry.get(chunk.analysis)
    read = spans(map(analysis.reads_of, chunk.days))
    parameters = {
        "firsts": [first for first, _ in read],
        "lasts": [last for _, last in read],
        "types": [e.name for e in analysis.reads],
        "through": chunk.through_batch,
    }
    found = _touched(settings, parameters)
    if later := next((file for file in found if file.batch_id > chunk.through_batch), None):
        raise DataError(
            f"{chunk.analysis}, chunk {chunk.key}: planned through batch {chunk.through_batch}, and what "
            f"{later.event_type} was on {later.event_on} by then is no longer known; clear the run from task `plan` "
            "onwards, or start a new one"
        )
    return found


def current(settings: Settings) -> list[DayFile]:
    """The day files of every day of every event type, as of now.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    always = {"firsts": [dt.date.min], "lasts": [dt.date.max], "through": 2**63 - 1}
    return _touched(settings, {**always, "types": list(EVENT_TYPES)})


def _touched(settings: Settings, parameters: dict[str, Any]) -> list[DayFile]:
    with transaction(settings.url("pipeline")) as connection:
        return [DayFile(*row) for row in connection.execute(_TOUCHED, parameters)]


def paths(settings: Settings, chunk: Chunk) -> dict[str, list[str]]:
    """Day files that `chunk` reads, by event type and in the order of days; a type without events has none.

    Raises
    ------
    DataError
        The change log was folded since the chunk was planned.
    ServiceError
        PostgreSQL does not answer.
    """
    found: dict[str, list[str]] = {e.name: [] for e in registry.get(chunk.analysis).reads}
    for file in day_files(settings, chunk):
        found[file.event_type].append(file.url(settings.storage))
    return found
