"""From lines to what a batch stages: typed and checked events, and the lines that are none."""

from __future__ import annotations

import datetime as dt
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wayfare import duck
from wayfare.contracts import EVENT_TYPES, EventType, Kind, reference
from wayfare.landing import checks, fast
from wayfare.landing.careful import CarefulDecoder, Refused, to_table
from wayfare.staging.incoming import KEYS, Incoming, Rejection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        self._careful = CarefulDecoder(self._contracts)

    def __call__(self, lines: Lines) -> Incoming:
        """What a batch stages of `lines`. Blank lines count as nothing."""
        landed_at = dt.datetime.now(dt.UTC)
        checked = self._columnar(lines, landed_at)
        careful, rejections, blank = self._row_by_row(lines, [t["ordinal"] for t in checked.values()])
        self._add_careful(checked, careful, landed_at)
        events = []
        for contract, table in checked.items():
            broken = table["broken"]
            if broken.null_count < len(broken):
                rejections += checks.rejections(contract, table.filter(broken.is_valid()))
            good = table.filter(broken.is_null()) if broken.null_count < len(broken) else table
            if len(good):
                events.append((contract, good.drop_columns(["broken"])))
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

    def _columnar(self, lines: Lines, landed_at: dt.datetime) -> dict[EventType, pa.Table]:
        """What the columnar path accepts, checked."""
        texts = pa.table({"ordinal": np.arange(len(lines.table)), "json": lines.table["json"]})
        names = fast.route(self._connection, texts)
        found = {}
        for contract in self._contracts:
            if contract.name in names:
                table = self._checked(contract, f"({fast.statement(contract)})", landed_at)
                found[contract] = table.filter(table["accepted"]).drop_columns(["accepted"])
        return found

    def _add_careful(
        self, checked: dict[EventType, pa.Table], careful: dict[EventType, list[pa.Table]], landed_at: dt.datetime
    ) -> None:
        for contract, tables in careful.items():
            self._connection.register("careful", pa.concat_tables(tables))
            table = self._checked(contract, "careful", landed_at)
            self._connection.unregister("careful")
            checked[contract] = pa.concat_tables([checked[contract], table]) if contract in checked else table

    def _checked(self, contract: EventType, source: str, landed_at: dt.datetime) -> pa.Table:
        table = checks.check(self._connection, self._settings, contract, source, landed_at)
        uuids = {f.name for f in contract.fields if f.kind is Kind.UUID} | {"content"}
        return table.cast(pa.schema([f.with_type(pa.binary(16)) if f.name in uuids else f for f in table.schema]))

    def _row_by_row(
        self, lines: Lines, taken: list[pa.ChunkedArray]
    ) -> tuple[dict[EventType, list[pa.Table]], list[Rejection], int]:
        """Events of the lines whose ordinals are not `taken`, their rejections, and how many were blank.

        Rows become columns slice by slice: as Python objects they take many times the memory of their lines.
        """
        left = np.ones(len(lines.table), bool)
        for ordinals in taken:
            left[ordinals.to_numpy()] = False
        rest = np.flatnonzero(left)
        events: dict[EventType, list[pa.Table]] = {}
        rejections, blank = list[Rejection](), 0
        for start in range(0, len(rest), _SLICE):
            rows, refused, blanks = self._slice(lines, rest[start : start + _SLICE])
            for contract in self._contracts:
                if contract.table in rows:
                    events.setdefault(contract, []).append(to_table(contract, rows[contract.table]))
            rejections += refused
            blank += blanks
        return events, rejections, blank

    def _slice(
        self, lines: Lines, ordinals: npt.NDArray[np.int64]
    ) -> tuple[dict[str, list[tuple[Any, ...]]], list[Rejection], int]:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        rejections, blank = [], 0
        for ordinal, text in zip(ordinals.tolist(), lines.table["json"].take(ordinals).to_pylist(), strict=True):
            if ordinal in lines.faults:
                rejections.append(_rejection(ordinal, lines.faults[ordinal], None))
            elif not text.strip(" \t\r\n"):
                blank += 1
            else:
                try:
                    contract, values = self._careful.decode(text)
                    rows.setdefault(contract.table, []).append((ordinal, *values))
                except Refused as refused:
                    rejections.append(_rejection(ordinal, refused.fault, refused.event))
        return rows, rejections, blank


@contextmanager
def decoder(settings: Settings, contracts: Sequence[EventType] | None = None) -> Iterator[Decoder]:
    """A decoder with a DuckDB of its own, which works in one thread: runs are decoded side by side instead."""
    settings.spill_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=settings.spill_dir, ignore_cleanup_errors=True) as spill,
        duck.connect(
            memory_limit=settings.duckdb_memory_limit,
            threads=1,
            temp_directory=spill,
            preserve_insertion_order=False,
        ) as connection,
    ):
        reference.register(connection)
        fast.prepare(connection)
        yield Decoder(connection, settings, contracts or tuple(EVENT_TYPES.values()))


@contextmanager
def decoders(settings: Settings, contracts: Sequence[EventType] | None = None) -> Iterator[list[Decoder]]:
    """As many decoders as the settings allow DuckDB threads."""
    with ExitStack() as stack:
        yield [stack.enter_context(decoder(settings, contracts)) for _ in range(settings.duckdb_threads)]


def _rejection(ordinal: int, fault: Fault, event: object) -> Rejection:
    known = event if isinstance(event, dict) else {}
    event_type, event_id = (_readable(known.get(name)) for name in ("event_type", "event_id"))
    return Rejection(ordinal, fault.reason, fault.message, fault.field, event_type, event_id)


def _readable(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:200]


def _keys(events: list[tuple[EventType, pa.Table]]) -> pa.Table:
    """All events' `event_id`, `content`, `ordinal` and `first` (the ordinal of the first with that id), by event_id."""
    if not events:
        return KEYS.empty_table()
    keys = pa.concat_tables([t.select(["event_id", "content", "ordinal"]) for _, t in events]).combine_chunks()
    ids = keys["event_id"].chunk(0)
    halves = np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset :][: 2 * len(ids)].reshape(-1, 2)
    order = np.lexsort((keys["ordinal"].to_numpy(), halves[:, 1], halves[:, 0]))
    halves, keys = halves[order], keys.take(order)
    starts = np.ones(len(order), bool)
    starts[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    first = keys["ordinal"].to_numpy()[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return keys.append_column("first", pa.array(first, pa.int64())).cast(KEYS)
