"""What landing hands to staging, and the account it gets back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import datetime as dt

    from wayfare.contracts import EventType

MAX_LINE = 1 << 20
"""Bytes of a line, the most that an event may have; of a longer one so many are kept."""

CONFLICT = "conflict"
"""Reason of a rejection whose event_id is staged with other content."""

KEYS = pa.schema(
    [
        pa.field("event_id", pa.binary(16)),
        pa.field("ordinal", pa.int64()),
        pa.field("first", pa.int64()),
    ]
)
"""Of every event of a batch, sorted by `event_id` and `ordinal`; `first` is the ordinal of the first with its id."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that is not staged: why, and what could be read of it. `ordinal` is its position among the lines.

    `source` is who the event says it is from; it is not kept with the rejection. The texts may quote the line:
    characters that PostgreSQL or UTF-8 cannot hold are written as JSON escapes.
    """

    ordinal: int
    reason: str
    message: str
    field: str | None = None
    event_type: str | None = None
    event_id: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name in ("message", "field", "event_type", "event_id"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, _escaped(text))


def _escaped(text: str) -> str:
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Incoming:
    """What was read of some lines.

    `events` are tables of `ordinal`, the contract's Arrow schema and `event_on`; `keys` has the schema `KEYS`; `lines`
    (int64) and `raw` (binary) are by ordinal; `read` counts the lines that are not blank.
    """

    source: str
    format: str
    header: str | None
    landed_at: dt.datetime
    read: int
    lines: pa.ChunkedArray
    raw: pa.ChunkedArray
    events: list[tuple[EventType, pa.Table]]
    keys: pa.Table
    rejections: list[Rejection]


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of the lines read: `landed + duplicates + conflicts + rejected == read`."""

    read: int = 0
    landed: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0

    def __add__(self, other: Landed) -> Landed:
        mine, its = asdict(self), asdict(other)
        return Landed(**{name: mine[name] + its[name] for name in mine})

    def summary(self, read: str) -> str:
        """The counts for people; `read` names what was read.

        >>> Landed(read=3, landed=2, rejected=1).summary("lines read")
        '3 lines read: 2 landed, 0 duplicates, 0 conflicts, 1 rejected'
        """
        return (
            f"{self.read:,} {read}: {self.landed:,} landed, {self.duplicates:,} duplicates, "
            f"{self.conflicts:,} conflicts, {self.rejected:,} rejected"
        )


@dataclass(frozen=True, slots=True)
class Staged:
    """What became of a batch: `duplicates` are ordinals, `refused` holds the conflicts too, all other events landed."""

    landed: Landed
    duplicates: list[int]
    refused: list[Rejection]
