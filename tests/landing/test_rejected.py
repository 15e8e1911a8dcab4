"""Rejections are kept whole, listed by what one looks for, and resolved once by a replay."""

from __future__ import annotations

import datetime as dt
import json
import tracemalloc
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import SecretStr

from landing.sample_events import event, query, staging, write
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ConfigurationError
from wayfare.landing import Landed, land, rejected, rejections, replay
from wayfare.landing.mapping.files import import_files
from wayfare.staging import rejections as kept
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.landing.lines import Lines
    from wayfare.settings import Settings

LENIENT = [
    replace(e, rules=tuple(r for r in e.rules if r.code != "unknown_place"))
    for e in (EVENT_TYPES["search"], EVENT_TYPES["booking"])
]
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
    assert rejections(settings, source="_.jsonl") == [], "a name is no pattern"
    assert [r["reason"] for r in rejections(settings, event_type="search")] == ["bad_count"]
    assert len(rejections(settings, since=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5))) == 3
    assert rejections(settings, since=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)) == []


def test_a_replay_resolves_what_was_mended_and_only_once(settings: Settings, tmp_path: Path) -> None:
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


def test_a_replay_resolves_what_was_staged_meanwhile(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event(destination="QQQ")])
    land(settings, [path])
    land(settings, [write(tmp_path / "b.jsonl", [event(destination="QQQ")])], contracts=LENIENT)
    changes = query(settings, "SELECT * FROM control.change")
    assert replay(settings, contracts=LENIENT) == Landed(read=1, duplicates=1)
    assert rejections(settings) == []
    assert query(settings, "SELECT * FROM control.change") == changes


def test_what_another_replay_resolved_meanwhile_stays_as_it_was_resolved(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether this one's contracts take the line too or not."""
    land(settings, [write(tmp_path / "a.jsonl", [event(destination="QQQ"), event("booking", 2, destination="QQQ")])])
    lines = rejected._lines

    def meanwhile(rows: list[dict[str, Any]]) -> Lines:
        monkeypatch.setattr(rejected, "_lines", lines)
        assert replay(settings, contracts=LENIENT).landed == 2
        return lines(rows)

    monkeypatch.setattr(rejected, "_lines", meanwhile)
    assert replay(settings, contracts=LENIENT[:1]) == Landed(read=2, duplicates=1, rejected=1)
    assert query(settings, "SELECT reason, resolved_batch_id FROM staging.rejection") == [("unknown_place", 2)] * 2
    assert query(settings, "SELECT max(batch_id) FROM control.batch") == [(2,)]


def test_what_stays_bad_stays_open_with_its_new_reason(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "a.jsonl", [event(destination="QQQ"), event(destination="LIS")])])
    assert [r["reason"] for r in rejections(settings)] == ["unknown_place"]
    assert replay(settings, contracts=LENIENT) == Landed(read=1, conflicts=1)
    assert [(r["reason"], r["field"]) for r in rejections(settings)] == [("conflict", "event_id")]


def test_what_was_resolved_and_is_refused_again_is_open_again(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event(destination="QQQ")])
    land(settings, [path])
    (first,) = rejections(settings)
    assert replay(settings, contracts=LENIENT).landed == 1
    for _ in range(2):
        assert land(settings, [path]).rejected == 1
    (again,) = rejections(settings)
    assert (again["rejection_id"], again["raw"], again["batch_id"]) == (first["rejection_id"], first["raw"], 3)
    assert query(settings, "SELECT batch_id, rejected FROM control.batch ORDER BY 1") == [(1, 1), (2, 0), (3, 1)]
    assert replay(settings, contracts=LENIENT).duplicates == 1
    assert rejections(settings) == []


@pytest.mark.parametrize("key", [None, "k" * 32])
def test_a_row_refused_under_two_headers_is_kept_under_each(
    settings: Settings, tmp_path: Path, key: str | None
) -> None:
    settings = _keyed(settings, key) if key else settings
    path, header = tmp_path / "a.csv", ",".join(event())
    for line in (header.replace("destination", "destinaton"), header, header):
        path.write_text(line + "\n" + ",".join(map(str, event(destination="QQQ").values())) + "\n", "utf-8")
        assert land(settings, [str(path)]).rejected == 1
    right, wrong = rejections(settings)
    assert (right["header"], right["reason"]) == (header, "unknown_place")
    assert (wrong["header"], wrong["reason"]) == (header.replace("destination", "destinaton"), "missing_field")
    assert replay(settings, contracts=LENIENT) == Landed(read=2, landed=1, rejected=1)


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


def test_a_byte_order_mark_among_the_rows_is_a_cell_at_a_replay_too(settings: Settings, tmp_path: Path) -> None:
    marked = "\ufeff" + ",".join(map(str, event("travel").values()))
    lines = [",".join(event("travel")), "\ufeff", marked, "nonsense"]
    (tmp_path / "a.csv").write_text("\n".join(lines), "utf-8")
    assert land(settings, [str(tmp_path / "a.csv")]).rejected == 3
    before = [(r["line"], r["reason"], r["message"]) for r in rejections(settings)]
    assert replay(settings) == Landed(read=3, rejected=3)
    assert [(r["line"], r["reason"], r["message"]) for r in rejections(settings)] == before


def test_replays_in_runs(settings: Settings, tmp_path: Path) -> None:
    small = settings.model_copy(update={"landing_rows": 2})
    land(settings, [write(tmp_path / "a.jsonl", [event("search", n, destination="QQQ") for n in range(5)])])
    assert replay(small, contracts=LENIENT) == Landed(read=5, landed=5)


def test_runs_of_a_replay_are_bounded_by_bytes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected, "MAX_RUN_BYTES", 1_500)
    refused = [event("search", n, destination="QQQ", own="x" * 500 * (n % 4)) for n in range(12)]
    land(settings, [write(tmp_path / "a.jsonl", refused)])
    assert replay(settings, contracts=LENIENT) == Landed(read=12, landed=12)
    sizes = [sum(len(json.dumps(e)) for e in refused[a:b]) for a, b in pairwise([0, *accumulate(_landed(settings))])]
    assert len(sizes) > 6
    assert all(size <= 1_500 or count == 1 for size, count in zip(sizes, _landed(settings), strict=True))


def test_headers_count_in_what_is_kept_and_replayed_at_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_AT_ONCE", 1 << 20)
    monkeypatch.setattr(rejected, "MAX_RUN_BYTES", 100_000)
    events = [event("search", n, destination="QQQ") for n in range(200)]
    lines = [",".join([*events[0], "x" * 60_000]), *(",".join(map(str, [*e.values(), ""])) for e in events)]
    path = write(tmp_path / "a.csv", [line.encode() for line in lines])
    tracemalloc.start()
    assert land(_keyed(settings), [path]).rejected == 200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # all of them with their header: 12 MB, and sealed again as much
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("TRUNCATE staging.rejection")
    path = write(tmp_path / "b.csv", [line.encode() for line in lines[:5]])
    assert land(settings, [path]).rejected == 4
    assert replay(settings, contracts=LENIENT) == Landed(read=4, landed=4)
    assert _landed(settings) == [1] * 4


def _landed(settings: Settings) -> list[int]:
    """How many events each batch landed, but for those that landed none."""
    return [n for (n,) in query(settings, "SELECT landed FROM control.batch WHERE landed > 0 ORDER BY batch_id")]


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
    from wayfare.landing import jsonl, lines

    whole = json.dumps(event()).encode()
    for module in (jsonl, lines):
        monkeypatch.setattr(module, "MAX_LINE", len(whole) + 3)
    for block in (7, 64, 1 << 20):
        monkeypatch.setattr(jsonl, "_BLOCK", block)
        path = write(tmp_path / f"{block}.jsonl", [whole + b" " * 3, whole + b" " * 4, whole + b" " * 900, whole])
        landed = land(settings, [path])
        assert (landed.read, landed.landed + landed.duplicates, landed.rejected) == (4, 2, 2)
    assert {r["line"] for r in rejections(settings)} == {2, 3}


CUSTOMER = "zoe@example.com"
MAPPING = """
source = "import:test"
namespace = "622ad0e3-41f2-513f-8e45-dd77f4e74562"
[[events]]
type = "travel"
key = "{who}"
fields.occurred_at = "{who}"
fields.booking_id = "b1"
fields.item_id = "i1"
fields.outcome = "completed"
"""


def _keyed(settings: Settings, key: str = "k" * 32) -> Settings:
    return settings.model_copy(update={"customer_key": SecretStr(key)})


def _kept(settings: Settings) -> str:
    """Everything that staging and its accounts hold, bytes as text."""
    tables = query(settings, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                             "WHERE schemaname IN ('staging', 'control')")  # fmt: skip
    rows = [text for (table,) in tables for (text,) in query(settings, f"SELECT t::text FROM {table} t")]
    raws = [str(raw) for (raw,) in query(settings, "SELECT raw FROM staging.rejection")]
    return "\n".join(rows + raws)


def _land_every_way_in_which_a_customer_is_refused(settings: Settings, folder: Path) -> Landed:
    lines = [
        event("search", 1, destination="QQQ", customer_id=CUSTOMER),
        event("search", 2, adults=-1, customer_id=CUSTOMER),
        event("search", 3, customer_id=[CUSTOMER]),
        event("search", 4, point_of_sale=CUSTOMER),
        event("search", 5, event_id=CUSTOMER),
        {**event("search", 6), "event_type": CUSTOMER},
        event("search", 7, schema_version=CUSTOMER),
        event("search", 8, customer_id=CUSTOMER),
        event("search", 8, customer_id=CUSTOMER, adults=5),
        json.dumps(event("search", 9, guests=0)).replace("0}", f'{{"{CUSTOMER}": 1, "{CUSTOMER}": 2}}}}').encode(),
    ]
    landed = land(settings, [write(folder / "a.jsonl", lines)])
    landed += land(settings, [write(folder / "b.jsonl", [CUSTOMER.encode(), b'{"customer_id": "' + CUSTOMER.encode()])])
    (folder / "no_header.csv").write_text(f"booking,{CUSTOMER},1\nbooking,{CUSTOMER},2\nbooking,{CUSTOMER}\n")
    (folder / "mapped.csv").write_text(f"who\n{CUSTOMER}\n")
    (folder / "mapping.toml").write_text(MAPPING)
    landed += land(settings, [str(folder / "no_header.csv")])
    return landed + import_files(settings, str(folder / "mapping.toml"), [str(folder / "mapped.csv")])


def test_with_a_key_no_customer_is_kept_in_clear(settings: Settings, tmp_path: Path) -> None:
    keyed = _keyed(settings)
    landed = _land_every_way_in_which_a_customer_is_refused(keyed, tmp_path)
    assert landed == Landed(read=15, landed=1, conflicts=1, rejected=13)
    assert CUSTOMER not in _kept(settings)
    assert _land_every_way_in_which_a_customer_is_refused(keyed, tmp_path).rejected == 13
    assert query(settings, "SELECT count(*) FROM staging.rejection") == [(14,)]

    listed = rejections(keyed)
    assert all(CUSTOMER in f"{row['header']} {row['raw']!r}" for row in listed)
    assert [row["header"] for row in listed if row["format"] == "csv"] == [f"booking,{CUSTOMER},1"] * 2
    assert {row["message"] for row in listed if row["reason"] == "bad_country"} == {
        "point_of_sale is not a country code of two capital letters, like PT"
    }
    assert replay(keyed, contracts=LENIENT) == Landed(read=14, landed=1, conflicts=1, rejected=12)
    assert CUSTOMER not in _kept(settings)
    assert len(staging(settings)["search"]) == 2


def test_without_a_key_everything_is_kept_as_it_came(settings: Settings, tmp_path: Path) -> None:
    _land_every_way_in_which_a_customer_is_refused(settings, tmp_path)
    assert all(CUSTOMER in str(raw) for (raw,) in query(settings, "SELECT raw FROM staging.rejection WHERE NOT sealed"))
    (row,) = rejections(settings, reason="bad_country")
    assert row["message"].startswith(f'point_of_sale "{CUSTOMER}" is not')


def test_what_another_key_sealed_stays_open_and_the_rest_is_replayed(settings: Settings, tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [event("search", n, destination="QQQ") for n in range(3)])
    land(_keyed(settings, "lost"), [first])
    land(settings, [write(tmp_path / "b.jsonl", [event("search", 5, destination="QQQ")])])
    land(_keyed(settings), [write(tmp_path / "c.jsonl", [event("search", 6, destination="QQQ")])])
    shut = rf"rejection 3 of batch 1 \({first}:3\) is sealed and it does not open with this WAYFARE_CUSTOMER_KEY"
    with pytest.raises(ConfigurationError, match=shut):
        rejections(_keyed(settings), source="a.jsonl")
    with pytest.raises(ConfigurationError, match="is sealed and WAYFARE_CUSTOMER_KEY is not set: set the key"):
        rejections(settings)
    assert [row["line"] for row in rejections(settings, raw=False)] == [1, 1, 3, 2, 1]

    small = _keyed(settings).model_copy(update={"landing_rows": 2})
    with pytest.raises(ConfigurationError, match=r"3 sealed lines stay open.* 2 landed,.*rejection 1 of batch 1"):
        replay(small, contracts=LENIENT)
    assert len(staging(settings)["search"]) == 2
    assert replay(_keyed(settings, "lost"), contracts=LENIENT) == Landed(read=3, landed=3)
    assert rejections(settings) == []
