"""Landing files: every format and packing, the account of lines, exactly once in effect."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from landing.sample_events import event, query, staging, write
from wayfare.errors import DataError, ServiceError, ZoneError
from wayfare.landing import Landed, fast, land, rejections, sources

if TYPE_CHECKING:
    from wayfare.settings import Settings

EVENTS = [
    event("search", 1),
    event("booking", 2, fee=50, extra_field={"b": [1.5, None], "a": "é"}),
    event("travel", 3),
]


def test_lands_each_type_in_its_table(settings: Settings, tmp_path: Path) -> None:
    landed = land(settings, [write(tmp_path / "a.jsonl", EVENTS)])
    assert landed == Landed(read=3, landed=3)
    (booking,) = query(settings, "SELECT price, fee, end_on::text, is_test, extra, event_on::text FROM staging.booking")
    assert booking == (10050, 50, "2026-04-03", False, '{"extra_field":{"a":"é","b":[1.5,null]}}', "2026-03-03")
    assert query(settings, "SELECT batch_id, landed FROM control.batch") == [(1, 3)]


def test_event_day_is_the_agency_s(settings: Settings, tmp_path: Path) -> None:
    tokyo = settings.model_copy(update={"timezone": "Asia/Tokyo"})
    path = write(tmp_path / "a.jsonl", [event("search", 1, occurred_at="2026-03-02T15:00:00Z")])
    with pytest.raises(ZoneError, match="is Asia/Tokyo, but this database was filled with days of UTC: set WAYFARE_T"):
        land(tokyo, [path])
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(0,)]
    query(settings, "UPDATE control.installation SET timezone = 'Asia/Tokyo' RETURNING 1")
    land(tokyo, [path])
    assert query(settings, "SELECT event_on::text FROM staging.search") == [("2026-03-03",)]


def _csv(events: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(name for e in events for name in e))
    rows = [
        ",".join(json.dumps(e[n]) if n in e and not isinstance(e[n], str) else e.get(n, "") for n in names)
        for e in events
    ]
    return "\n".join([",".join(names), *rows]).encode()


def _parquet(events: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    names = list(dict.fromkeys(name for e in events for name in e))
    pq.write_table(pa.Table.from_pylist([{n: e.get(n) for n in names} for e in events]), sink)
    return sink.getvalue()


def _jsonl(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(e).encode() + b"\r\n" for e in events)


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize(("suffix", "written"), [("jsonl", _jsonl), ("csv", _csv), ("parquet", _parquet)])
def test_formats_stage_the_same_events(
    settings: Settings, tmp_path: Path, suffix: str, written: Any, packed: str
) -> None:
    events = [event("search", 1, channel="seo"), event("inventory", 2), event("booking", 3)]
    land(settings, [write(tmp_path / "reference.jsonl", events)])
    names = list(dict.fromkeys(name for e in events for name in e))
    content = written([{name: e.get(name) for name in names if name in e} for e in events])
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed]
    path = tmp_path / f"again.{suffix}{packed}"
    path.write_bytes(pack(content))
    assert land(settings, [str(path)]) == Landed(read=3, duplicates=3)


def test_standard_input_with_a_byte_order_mark(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + _jsonl([event()])))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert land(settings, ["-"]) == Landed(read=1, landed=1)


def test_blank_lines_are_no_lines(settings: Settings, tmp_path: Path) -> None:
    line = json.dumps(event()).encode()
    path = write(tmp_path / "a.jsonl", [b"", line, b"   \t\r", b"nonsense", b""])
    assert land(settings, [path]) == Landed(read=2, landed=1, rejected=1)
    assert [(r["line"], r["raw"]) for r in rejections(settings)] == [(4, b"nonsense")]


def test_landing_again_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*EVENTS, event("search", 1, adults=3), event("search", 9, adults=-1)])
    assert land(settings, [path]) == Landed(5, 3, 0, 1, 1)
    before = (
        staging(settings),
        query(settings, "SELECT * FROM control.batch"),
        query(settings, "TABLE staging.rejection"),
    )
    assert land(settings, [path]) == Landed(5, 0, 3, 1, 1)
    assert land(settings, [path, path]) == Landed(10, 0, 6, 2, 2)
    assert before == (
        staging(settings), query(settings, "SELECT * FROM control.batch"), query(settings, "TABLE staging.rejection")
    )  # fmt: skip


def test_repeats_within_a_batch_are_judged_by_what_is_staged(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "a.jsonl", [event(adults=1)])])
    later = write(tmp_path / "b.jsonl", [event(adults=2), event(adults=1), event(adults=2), event("search", 2)])
    assert land(settings, [later]) == Landed(read=4, landed=1, duplicates=1, conflicts=2)
    assert query(settings, "SELECT adults FROM staging.search ORDER BY event_on") == [(1,), (2,)]
    assert {r["reason"] for r in rejections(settings)} == {"conflict"}


def test_an_event_is_known_however_it_is_written(settings: Settings, tmp_path: Path) -> None:
    one = event(customer_id="é", extra_b=1, extra_a={"y": 1, "x": 2}, occurred_at="2026-03-01T11:00:00+01:00")
    land(settings, [write(tmp_path / "a.jsonl", [one])])
    same = {**dict(reversed(one.items())), "extra_a": {"x": 2, "y": 1}, "channel": None, "is_test": False}
    same["occurred_at"] = "2026-03-01T10:00:00.000Z"
    other = [
        one | {"adults": 3},
        one | {"extra_b": 2},
        one | {"channel": ""},
        one | {"occurred_at": "2026-03-02T10:00:00Z"},
        event("travel", event_id=one["event_id"]),
    ]
    again = [json.dumps(same, ensure_ascii=False).encode(), *(json.dumps(e).encode() for e in other)]
    assert land(settings, [write(tmp_path / "b.jsonl", again)]) == Landed(read=6, duplicates=1, conflicts=5)
    fresh = [event("search", 2, channel=None), event("search", 2), event("search", 2, adults=9)]
    assert land(settings, [write(tmp_path / "c.jsonl", fresh)]) == Landed(3, 1, 1, 1)


def test_a_whole_number_may_be_written_as_a_decimal(settings: Settings, tmp_path: Path) -> None:
    """As pandas writes a column of counts of which one is missing."""
    land(settings, [write(tmp_path / "a.jsonl", [event("booking", adults=2)])])
    same = event("booking", price="10050.000", adults="2.0")
    (tmp_path / "a.csv").write_bytes(_csv([same, event("booking", 2, adults="2.5")]))
    assert land(settings, [str(tmp_path / "a.csv")]) == Landed(read=2, duplicates=1, rejected=1)
    assert land(settings, [write(tmp_path / "b.jsonl", [event("booking", adults=2.0)])]).duplicates == 1
    assert [(r["line"], r["reason"]) for r in rejections(settings)] == [(3, "bad_count")]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([*range(60_000), 59_999], "the header names '59999' 2 times; write each field once"),
        ([*range(60_000), ""], "column 60001 of the header has no name; name every column"),
    ],
)
def test_a_header_of_many_names_is_checked_at_once(
    settings: Settings, tmp_path: Path, names: list[Any], told: str
) -> None:
    (tmp_path / "a.csv").write_text(",".join(map(str, names)), "utf-8")
    started = time.monotonic()
    with pytest.raises(DataError, match=f"a.csv:1: {told}"):
        land(settings, [str(tmp_path / "a.csv")])
    assert time.monotonic() - started < 10


def test_a_missing_file_stops_before_anything_lands(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write(tmp_path / "a.jsonl", EVENTS)
    monkeypatch.setattr(sys, "stdin", None)
    missing = {str(tmp_path / "b.jsonl"): "no such file", str(tmp_path): "is not a file", "/dev/null": "is not a file"}
    for source, told in {**missing, "-": "standard input is closed"}.items():
        with pytest.raises(DataError, match=f"^{source}:? {told}"):
            land(settings, [good, source])
    assert query(settings, "SELECT * FROM control.batch") == []


@pytest.mark.parametrize(("packed", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_damaged_file_keeps_what_came_before(settings: Settings, tmp_path: Path, packed: str, pack: Any) -> None:
    small = settings.model_copy(update={"landing_rows": 2_000})
    content = pack(_jsonl([event("search", n, customer_id=str(n) * 9) for n in range(20_000)]))
    path = tmp_path / f"a.jsonl.{packed}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"a\.jsonl\.{packed}"):
        land(small, [str(path)])
    path.write_bytes(content)
    landed = land(small, [str(path)])
    assert landed.landed + landed.duplicates == 20_000
    assert landed.duplicates > 0


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_packed_in_parts_is_read_to_its_end_or_refused(settings: Settings, tmp_path: Path, pack: Any) -> None:
    first, second = (pack(_jsonl([event("search", n)])) for n in (1, 2))
    path = tmp_path / "a.jsonl"
    for size in range(1, len(second)):
        path.write_bytes(first + second[:size])
        with pytest.raises(DataError, match=r"a\.jsonl"):
            list(sources.read(str(path), None, 100))
    path.write_bytes(first + second)
    assert land(settings, [str(path)]) == Landed(read=2, landed=2)


def test_a_file_of_pzstd_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    packed = zstandard.compress(b"{}\n")
    path.write_bytes((b"\x50\x2a\x4d\x18\x04\0\0\0" + len(packed).to_bytes(4, "little") + packed) * 2)
    (lines,) = sources.read(str(path), None, 100)
    assert lines.table["raw"].to_pylist() == [b"{}\n"] * 2


def test_no_room_to_unpack_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"event_type": ["search"]}), path)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115  # read closes it
    with pytest.raises(ServiceError, match=f"no room left in {tmp_path} to unpack it to"):
        list(sources.read(str(path), None, 100, spill=tmp_path))


def test_both_ways_to_type_lines_end_in_one_batch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "FEW", 0)
    events = [event("travel", 1), event("travel", 29, unknown=1), event("travel", 57, outcome="lost")]
    assert land(settings, [write(tmp_path / "a.jsonl", events)]) == Landed(read=3, landed=2, rejected=1)
    assert query(settings, "SELECT event_on::text, rows FROM control.change") == [("2026-03-02", 2)]


def test_days_are_touched_whose_rows_an_event_changes(settings: Settings, tmp_path: Path) -> None:
    for batch_id, landed in enumerate(("booking", "cancellation", "travel"), start=1):
        land(settings, [write(tmp_path / f"{batch_id}.jsonl", [event(landed, batch_id)])])
    land(settings, [write(tmp_path / "4.jsonl", [event("cancellation", 4)])])
    land(settings, [write(tmp_path / "5.jsonl", [event("booking", 5, item_id="i2")])])
    changes = query(settings, "SELECT batch_id, event_type, event_on::text, rows FROM control.change ORDER BY 1, 2, 3")
    assert changes[:3] == [
        (1, "booking", "2026-03-02", 1),
        (2, "cancellation", "2026-03-03", 1),
        (3, "travel", "2026-03-04", 1),
    ]
    assert changes[3:] == [
        (4, "cancellation", "2026-03-03", 0),
        (4, "cancellation", "2026-03-05", 1),
        (4, "travel", "2026-03-04", 0),
        (5, "booking", "2026-03-06", 1),
        (5, "cancellation", "2026-03-03", 0),
        (5, "cancellation", "2026-03-05", 0),
        (5, "travel", "2026-03-04", 0),
    ]


class _Idle(io.RawIOBase):
    """A standard input that brings nothing, until it ends; whoever reads it is interrupted by Ctrl-C."""

    ends = threading.Event()

    def readinto(self, _: object) -> int:
        if not self.ends.is_set():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            self.ends.wait(15)
            self.ends.set()
        return 0


def test_an_interrupt_does_not_wait_for_an_idle_standard_input(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = _Idle()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=idle))
    monkeypatch.setattr("wayfare.landing.files._GRACE", 0.1)
    with pytest.raises(KeyboardInterrupt):
        land(settings, ["-"])
    assert not idle.ends.is_set()
    idle.ends.set()
