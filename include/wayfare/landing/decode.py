"""From lines to what a batch stages: typed and checked events, and the lines that are not events."""

from __future__ import annotations

import datetime as dt
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wayfare import duck
from wayfare.contracts import EVENT_TYPES, EventType, reference
from wayfare.landing import checks, fast
from wayfare.landing.careful import CarefulDecoder, Refused, to_table
from wayfare.staging.incoming import KEYS, Incoming, Rejection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from wayfare.landing.lines import Fault, Lines
    from wayfare.settings import Settings

_SLICE = 10_000


class Decoder:
    """Decodes runs of lines to the given contracts; not to be shared between threads."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, contracts: Sequence[EventType]
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._contracts = tuple(contracts)
        self._types = {c.type for c in self._contracts}
        self._careful = CarefulDecoder(self._contracts)
        self._quoting = settings.customer_key is None  # a cell out of place may hold a customer id

    def __call__(self, lines: Lines) -> Incoming:
        """What a batch stages of `lines`. Blank lines count as nothing."""
        landed_at = dt.datetime.now(dt.UTC)
        typed = {c: [t] for c, t in fast.typed(self._connection, lines.table["json"], self._contracts)}
        careful, rejections, blank = self._row_by_row(lines, [t["ordinal"] for (t,) in typed.values()])
        for contract, tables in careful.items():
            typed.setdefault(contract, []).extend(tables)
        events = []
        for contract, tables in typed.items():
            table = checks.check(self._connection, self._settings, contract, pa.concat_tables(tables), landed_at)
            broken = table["broken"]
            if broken.null_count < len(broken):
                rejections += checks.rejections(contract, table.filter(broken.is_valid()), quoting=self._quoting)
                table = table.filter(broken.is_null())
            if len(table):
                events.append((contract, table.drop_columns(["broken"])))
        return Incoming(
            source=lines.source,
            format=lines.format,
            header=lines.header,
            landed_at=landed_at,
            read=len(lines.table) - blank,
            lines=lines.table["line"],
            raw=lines.table["raw"],
            events=events,
            keys=_keys(events),
            rejections=sorted(rejections, key=lambda r: r.ordinal),
        )

    def _row_by_row(
        self, lines: Lines, taken: list[pa.ChunkedArray]
    ) -> tuple[dict[EventType, list[pa.Table]], list[Rejection], int]:
        """Events of the lines whose ordinals are not `taken`, their rejections, and how many were blank.

        Rows become columns slice by slice: as Python objects they take many times the memory of their lines.
        """
        left = np.ones(len(lines.table), bool)
        for ordinals in taken:
            left[ordinals.to_numpy()] = False
        rest, texts = np.flatnonzero(left), lines.table["json"].filter(pa.array(left))
        events: dict[EventType, list[pa.Table]] = {}
        rejections, blank = list[Rejection](), 0
        for start in range(0, len(rest), _SLICE):
            some = slice(start, start + _SLICE)
            rows, refused, blanks = self._slice(lines.faults, rest[some].tolist(), texts[some].to_pylist())
            for contract in self._contracts:
                if contract.name in rows:
                    events.setdefault(contract, []).append(to_table(contract, rows[contract.name]))
            rejections += refused
            blank += blanks
        return events, rejections, blank

    def _slice(
        self, faults: Mapping[int, Fault], ordinals: list[int], texts: list[str]
    ) -> tuple[dict[str, list[tuple[Any, ...]]], list[Rejection], int]:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        rejections, blank = [], 0
        for ordinal, text in zip(ordinals, texts, strict=True):
            if ordinal in faults:
                rejections.append(self._rejection(ordinal, faults[ordinal], None))
            elif not text.strip(" \t\r\n"):
                blank += 1
            else:
                try:
                    contract, values = self._careful.decode(text)
                    rows.setdefault(contract.name, []).append((ordinal, *values))
                except Refused as refused:
                    rejections.append(self._rejection(ordinal, refused.fault, refused.event))
        return rows, rejections, blank

    def _rejection(self, ordinal: int, fault: Fault, event: object) -> Rejection:
        known = event if isinstance(event, dict) else {}
        event_type, event_id, source = (_readable(known.get(name)) for name in ("event_type", "event_id", "source"))
        if not self._quoting:
            event_type = event_type if event_type in self._types else None
            event_id = event_id if _is_uuid(event_id) else None
        message, field = fault.sentence(quoting=self._quoting), _readable(fault.field)
        return Rejection(ordinal, fault.reason, message, field, event_type, event_id, source)


@contextmanager
def decoder(settings: Settings, contracts: Sequence[EventType] | None = None) -> Iterator[Decoder]:
    """A decoder with a DuckDB of its own, which works in one thread: runs are decoded side by side instead."""
    with duck.spilling(settings, threads=1) as connection:
        reference.register(connection)
        yield Decoder(connection, settings, contracts or tuple(EVENT_TYPES.values()))


@contextmanager
def decoders(settings: Settings, contracts: Sequence[EventType] | None = None) -> Iterator[list[Decoder]]:
    """As many decoders as the settings allow DuckDB threads."""
    with ExitStack() as stack:
        yield [stack.enter_context(decoder(settings, contracts)) for _ in range(settings.duckdb_threads)]


def _readable(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None


def _is_uuid(text: str | None) -> bool:
    try:
        uuid.UUID(text or "")
    except ValueError:
        return False
    return True


def halves_of(ids: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint64]:
    """Both halves of each event_id as numbers in its order; shape (n, 2)."""
    return np.frombuffer(ids.buffers()[1] or b"", ">u8")[2 * ids.offset :][: 2 * len(ids)].reshape(-1, 2)


def _keys(events: list[tuple[EventType, pa.Table]]) -> pa.Table:
    """All events' `event_id`, `ordinal` and `first` (the ordinal of the first with that id), by event_id."""
    if not events:
        return KEYS.empty_table()
    keys = pa.concat_tables([t.select(["event_id", "ordinal"]) for _, t in events]).combine_chunks()
    halves = halves_of(keys["event_id"].chunk(0)).astype(np.uint64)
    order = np.argsort(halves[:, 0])
    if (np.diff(halves[order, 0]) == 0).any():
        order = np.lexsort((keys["ordinal"].to_numpy(), halves[:, 1], halves[:, 0]))
    halves, keys = halves[order], keys.take(order)
    starts = np.ones(len(order), bool)
    starts[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    first = keys["ordinal"].to_numpy()[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return keys.append_column("first", pa.array(first, pa.int64())).cast(KEYS)
