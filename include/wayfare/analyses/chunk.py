"""A chunk of output days: the unit of work that passes from task to task."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def spans(ranges: Iterable[tuple[dt.date, dt.date]]) -> list[tuple[dt.date, dt.date]]:
    """First and last days of ranges, which come in order; those that overlap or follow each other are one."""
    found: list[tuple[dt.date, dt.date]] = []
    for first, last in ranges:
        if found and first - found[-1][1] <= dt.timedelta(1):
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


@dataclass(frozen=True)
class Chunk:
    """Output days of one analysis, to be computed from everything up to a batch.

    `fingerprint` is the digest of code, contract and settings it is computed with.
    """

    analysis: str
    days: tuple[dt.date, ...]
    through_batch: int
    fingerprint: str

    @property
    def key(self) -> str:
        """Name of the chunk, the same for the same work: every path of its files follows from it."""
        digest = hashlib.sha256(",".join(d.isoformat() for d in self.days).encode()).hexdigest()[:8]
        return f"{self.days[0]}_{self.days[-1]}_{self.through_batch}_{self.fingerprint[:8]}_{digest}"

    def folder(self, storage: str) -> str:
        """Where what its tasks hand on lives, below the storage's path or URL."""
        return f"{storage}/work/{self.analysis}/{self.key}"

    def quarantine(self, storage: str) -> str:
        """File of the events that `validate` set aside: `event_type`, `event_id` and the `rule` that each broke."""
        return f"{self.folder(storage)}/quarantine.parquet"

    def result(self, storage: str) -> str:
        """File of the mart's rows that `analyze` computed, ordered by grain."""
        return f"{self.folder(storage)}/result.parquet"

    def to_json(self) -> dict[str, Any]:
        """The chunk as XCom carries it; contiguous days travel as ranges.

        >>> day = dt.date(2026, 3, 1)
        >>> Chunk("sessions", (day, day + dt.timedelta(1)), 7, "f").to_json()["days"]
        [['2026-03-01', '2026-03-02']]
        """
        return {
            "analysis": self.analysis,
            "days": [[first.isoformat(), last.isoformat()] for first, last in spans((day, day) for day in self.days)],
            "through_batch": self.through_batch,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Chunk:
        """The chunk that `to_json` wrote.

        Raises
        ------
        ValueError
            There is no day in it.
        """
        days: list[dt.date] = []
        for first, last in value["days"]:
            start, stop = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
            days.extend(start + dt.timedelta(n) for n in range((stop - start).days + 1))
        if not days:
            raise ValueError("a chunk without days")
        return cls(value["analysis"], tuple(days), int(value["through_batch"]), value["fingerprint"])
