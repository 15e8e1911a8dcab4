"""How events reach the agency: held until their day of delivery, some late, some twice, some broken."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wayfare.contracts import EVENT_TYPES
from wayfare.simulator import columns
from wayfare.simulator.broken import break_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.simulator.columns import Floats, Ints

_LATEST = 6
"""Days that a late event is late by at most."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of all events: delivered a day or more late, delivered twice, and broken ones beside them."""

    late: float
    duplicate: float
    broken: float


class Mail:
    """Events posted during the simulation, by day of delivery.

    Parameters
    ----------
    rng
        What lateness, duplicates and faults are drawn from.
    last
        Last day of the simulation (days since 1970): what happens after it is never delivered, and what would arrive
        after it arrives on it.
    noise
        Shares of late, repeated and broken events.
    mark
        Sixteen bytes that no other simulation has, so that none has the same event ids.
    """

    def __init__(self, rng: np.random.Generator, last: int, noise: Noise, mark: bytes) -> None:
        self.counts: Counter[str] = Counter()
        self._rng = rng
        self._last = last
        self._noise = noise
        self._mark = mark
        self._again: dict[str, list[pa.Table]] = {}
        self._held: defaultdict[int, defaultdict[str, list[pa.Table]]] = defaultdict(lambda: defaultdict(list))

    def post(self, event_type: str, envelope: pa.Table, at: Floats, own: dict[str, pa.Array]) -> None:
        """Post events of one type: the columns they share, when they happen (seconds since 1970), their own columns."""
        n = len(at)
        if n == 0:
            return
        table = pa.table(
            {
                "event_type": columns.constant(event_type, n),
                "event_id": columns.uuids(self._rng, n, self._mark),
                "schema_version": columns.constant(EVENT_TYPES[event_type].version, n),
                "occurred_at": columns.instant(at),
                **dict(zip(envelope.column_names, envelope.columns, strict=True)),
                **own,
            }
        )
        happened = (at // 86400).astype(np.int64)
        late = (self._rng.random(n) < self._noise.late) & (happened < self._last)
        delivered = np.minimum(happened + np.where(late, self._rng.integers(1, _LATEST + 1, n), 0), self._last)
        delivered[happened > self._last] = self._last + 1
        self.counts["late"] += int((late & (happened <= self._last)).sum())
        self._hold(event_type, table, delivered)

    def _hold(self, event_type: str, table: pa.Table, delivered: Ints) -> None:
        order = np.argsort(delivered, kind="stable")
        days, starts = np.unique(delivered[order], return_index=True)
        table = table.take(pa.array(order))
        ends = np.append(starts[1:], len(order))
        for day, start, end in zip(days.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if day <= self._last:
                self._held[day][event_type].append(table.slice(start, end - start))

    def deliver(self, day: int) -> Iterator[tuple[str, pa.Table, list[bytes]]]:
        """What arrives on `day`: per event type its events, repetitions among them, and broken lines of JSON."""
        arriving = self._held.pop(day, defaultdict(list))
        for event_type in sorted({*arriving, *self._again}):
            if event_type not in arriving:
                yield event_type, _together(self._again.pop(event_type)), []
                continue
            table = _together(arriving[event_type]).combine_chunks()
            table = table.take(pc.sort_indices(table["occurred_at"]))
            self.counts[event_type] += len(table)
            broken = break_events(self._rng, self._some(table, self._noise.broken))
            self.counts["broken"] += len(broken)
            twice = self._some(table, self._noise.duplicate)
            self.counts["duplicate"] += len(twice)
            at_once = len(twice) if day == self._last else len(twice) // 2
            yesterdays = self._again.pop(event_type, [])
            if at_once < len(twice):
                self._again[event_type] = [twice.slice(at_once)]
            yield event_type, _together([table, twice.slice(0, at_once), *yesterdays]), broken

    def _some(self, table: pa.Table, share: float) -> pa.Table:
        chosen = np.flatnonzero(self._rng.random(len(table)) < share)
        return table.take(pa.array(self._rng.permutation(chosen)))


def _together(tables: list[pa.Table]) -> pa.Table:
    """One table; where one of them lacks a column, it is null."""
    return pa.concat_tables(tables, promote_options="default")
