"""Rejections are kept whole, listed by what one looks for, and settled once by a replay."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from landing.sample_events import event, query, staging, write
from wayfare.contracts import EVENT_TYPES
from wayfare.landing import Landed, land, rejections, replay
from wayfare.landing.lines import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from wayfare.settings import Settings

SEARCH = EVENT_TYPES["search"]
LENIENT = [replace(SEARCH, rules=tuple(r for r in SEARCH.rules if r.code != "unknown_place"))]
"""The contracts after a fix: the place table knows everything."""


def test_rejections_keep_the_line_and_say_what_is_wrong(settings: Settings, tmp_path: Path) -> None:
    bad = json.dumps(event(adults=-1), indent=None).replace('"adults"', ' \t"adults"').encode() + b"  "
    path = write(tmp_path / "a.jsonl", [event("search", 2), bad + b"\r"])
    land(settings, [path])
    (row,) = rejections(settings)
    assert (row["source"], row["line"], row["raw"], row["format"]) == (path, 2, bad, "jsonl")
    assert (row["reason"], row["field"], row["event_type"]) == ("bad_count", "adults", "search")
    assert row["event_id"] == event()["event_id"]
    assert row["message"] == "adults -1 is not a whole number from 0 to 2147483647"


def test_rejections_are_found_by_what_one_looks_for(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "a.jsonl", [b"{", event(adults=-1)])])
    land(settings, [write(tmp_path / "b.jsonl", [event("travel", outcome="lost")])])
    assert [r["line"] for r in rejections(settings)] == [1, 2, 1]
    assert len(rejections(settings, limit=2)) == 2
    assert [r["reason"] for r in rejections(settings, reason="bad_json")] == ["bad_json"]
    assert [r["reason"] for r in rejections(settings, source="b.jsonl")] == ["bad_choice"]
    assert [r["reason"] for r in rejections(settings, source=str(tmp_path / "b.jsonl"))] == ["bad_choice"]
    assert rejections(settings, source=".jsonl") == []
    assert [r["reason"] for r in rejections(settings, event_type="search")] == ["bad_count"]
    assert len(rejections(settings, since=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5))) == 3
    assert rejections(settings, since=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)) == []


def test_a_replay_settles_what_was_mended_and_only_once(settings: Settings, tmp_path: Path) -> None:
    events = [event("search", n, destination=place) for n, place in enumerate(["LIS", "QQQ", "QQX"])]
    path = write(tmp_path / "a.jsonl", [*events, b"nonsense", event("search", 7, destination="QQQ", adults=-1)])
    assert land(settings, [path]) == Landed(read=5, landed=1, rejected=4)
    assert replay(settings) == Landed(read=4, rejected=4)
    assert query(settings, "SELECT count(*) FROM control.batch") == [(1,)]

    assert replay(settings, contracts=LENIENT, reason="unknown_place") == Landed(read=2, landed=2)
    assert query(settings, "SELECT line, resolved_batch_id FROM staging.rejection ORDER BY 1") == [
        (2, 2), (3, 2), (4, None), (5, None),
    ]  # fmt: skip
    assert replay(settings, contracts=LENIENT) == Landed(read=2, rejected=2)
    assert land(settings, [path], contracts=LENIENT) == Landed(read=5, duplicates=3, rejected=2)
    assert len(query(settings, "SELECT 1 FROM staging.rejection")) == 4
    assert len(staging(settings)["search"]) == 3


def test_a_replay_settles_what_was_staged_meanwhile(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event(destination="QQQ")])
    land(settings, [path])
    land(settings, [write(tmp_path / "b.jsonl", [event(destination="QQQ")])], contracts=LENIENT)
    changes = query(settings, "SELECT * FROM control.change")
    assert replay(settings, contracts=LENIENT) == Landed(read=1, duplicates=1)
    assert rejections(settings) == []
    assert query(settings, "SELECT * FROM control.change") == changes


def test_what_stays_bad_stays_open_with_its_new_reason(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "a.jsonl", [event(destination="QQQ"), event(destination="LIS")])])
    assert [r["reason"] for r in rejections(settings)] == ["unknown_place"]
    assert replay(settings, contracts=LENIENT) == Landed(read=1, conflicts=1)
    assert [(r["reason"], r["field"]) for r in rejections(settings)] == [("conflict", "event_id")]


def test_a_replay_reads_every_format(settings: Settings, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(event())
    rows = [[str(event("search", n, destination="QQQ", source='a "b",\nc')[name]) for name in names] for n in range(2)]
    cells = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in rows]
    (tmp_path / "a.csv").write_bytes("\r\n".join([",".join(names), *cells]).encode())
    pq.write_table(pa.Table.from_pylist([event("search", 5, destination="QQQ")]), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.csv"), str(tmp_path / "a.parquet")]).rejected == 3
    assert [(r["format"], r["line"]) for r in rejections(settings)] == [("parquet", 1), ("csv", 4), ("csv", 2)]
    assert replay(settings, contracts=LENIENT) == Landed(read=3, landed=3)
    assert query(settings, "SELECT DISTINCT source FROM staging.search ORDER BY 1") == [('a "b",\nc',), ("web",)]


def test_replays_in_runs(settings: Settings, tmp_path: Path) -> None:
    small = settings.model_copy(update={"landing_rows": 2})
    land(settings, [write(tmp_path / "a.jsonl", [event("search", n, destination="QQQ") for n in range(5)])])
    assert replay(small, contracts=LENIENT) == Landed(read=5, landed=5)


def test_a_line_too_long_is_kept_in_part_and_never_replayed(settings: Settings, tmp_path: Path) -> None:
    whole = json.dumps(event()).encode()
    lines = [event("search", 2), whole + b" " * MAX_LINE, event("search", 3), b"x" * (5 * MAX_LINE), event("search", 4)]
    path = write(tmp_path / "a.jsonl", lines)
    assert land(settings, [path]) == Landed(read=5, landed=3, rejected=2)
    assert [(r["line"], r["reason"], len(r["raw"])) for r in rejections(settings)] == [
        (4, "line_too_long", MAX_LINE), (2, "line_too_long", MAX_LINE),
    ]  # fmt: skip
    assert replay(settings) == Landed()


def test_lines_of_exactly_the_limit_are_whole(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare.landing import jsonl

    whole = json.dumps(event()).encode()
    monkeypatch.setattr(jsonl, "MAX_LINE", len(whole) + 3)
    for block in (7, 64, 1 << 20):
        monkeypatch.setattr(jsonl, "_BLOCK", block)
        path = write(tmp_path / f"{block}.jsonl", [whole + b" " * 3, whole + b" " * 4, whole + b" " * 900, whole])
        landed = land(settings, [path])
        assert (landed.read, landed.landed + landed.duplicates, landed.rejected) == (4, 2, 2)
    assert {r["line"] for r in rejections(settings)} == {2, 3}
