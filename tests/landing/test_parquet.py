"""Parquet columns of every plausible type become what the contract holds."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import subprocess
import sys
import tempfile
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landing.sample_events import event, query
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import DataError
from wayfare.landing import Landed, land, parquet, rejections, replay
from wayfare.landing.lines import MAX_RUN_BYTES
from wayfare.settings import PROJECT
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings

AT = dt.datetime(2026, 3, 2, 10, 0, 0, 250_000, dt.UTC)


def test_columns_of_many_types(settings: Settings, tmp_path: Path) -> None:
    rows = 2
    columns = {
        **{name: pa.array([value] * rows) for name, value in event("search").items()},
        "event_id": pa.array([uuid.uuid4().bytes for _ in range(rows)], pa.binary(16)),
        "occurred_at": pa.array([AT] * rows, pa.timestamp("ns", "Europe/Lisbon")),
        "start_on": pa.array([dt.date(2026, 4, 1)] * rows),
        "adults": pa.array([2.0, 1.0], pa.float64()),
        "infants": pa.array([Decimal("1.00"), None], pa.decimal128(10, 2)),
        "result_count": pa.array([Decimal(5), Decimal(100)], pa.decimal128(38, 9)),
        "children": pa.array([float("nan"), None], pa.float64()),
        "product": pa.array(["hotel", "hotel"]).dictionary_encode(),
        "min_price": pa.array([100, 200], pa.uint16()),
        "currency": pa.array(["EUR", "EUR"], pa.large_string()),
        "is_test": pa.array([None, True]),
        "own_list": pa.array([[1, 2], None]),
        "own_amount": pa.array([Decimal("1.50"), None]),
        "own_float": pa.array([1.0, None]),
        "own_half": pa.array([1.5, None], pa.float16()),
        "own_json": pa.array([f'{{"a":"{"x" * 600}"}}', None], pa.json_()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=2, landed=2)
    found = query(
        settings,
        "SELECT occurred_at, adults, children, infants, result_count, min_price, is_test, extra FROM staging.search "
        "ORDER BY min_price",
    )
    extra = f'{{"own_amount":1.50,"own_float":1.0,"own_half":1.5,"own_json":{{"a":"{"x" * 600}"}},"own_list":[1,2]}}'
    assert found == [(AT, 2, None, 1, 5, 100, False, extra), (AT, 1, None, None, 100, 200, True, None)]


def test_a_fraction_of_a_minor_unit_is_refused_as_it_was_written(settings: Settings, tmp_path: Path) -> None:
    row = event("booking") | {"price": Decimal("9007199254740991.50")}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]).rejected == 1
    assert b'"price":9007199254740991.50,' in rejections(settings, reason="bad_money")[0]["raw"]


def test_int96_is_an_instant_of_any_year_in_utc(settings: Settings, tmp_path: Path) -> None:
    row = event("search") | {"occurred_at": AT.replace(tzinfo=None), "own_until": dt.datetime(9999, 12, 31)}  # noqa: DTZ001
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert land(settings, [str(tmp_path / "a.parquet")]).landed == 1
    (staged,) = query(settings, "SELECT occurred_at, extra FROM staging.search")
    assert staged == (AT, '{"own_until":"9999-12-31T00:00:00.000000Z"}')


def test_the_row_numbers_that_pandas_keeps_are_no_field(settings: Settings, tmp_path: Path) -> None:
    frame = pd.DataFrame([event("search", n) for n in range(3)])
    for name, some in (("a.parquet", frame), ("b.parquet", frame[1:].reset_index(drop=True))):
        some.to_parquet(tmp_path / name, index=True)
    assert pq.read_schema(tmp_path / "b.parquet").names[-1] == "__index_level_0__"
    assert land(settings, [str(tmp_path / "a.parquet")]).landed == 3
    assert land(settings, [str(tmp_path / "b.parquet")]) == Landed(read=2, duplicates=2)


def test_the_contract_s_own_schema(settings: Settings, tmp_path: Path) -> None:
    travel = EVENT_TYPES["travel"]
    values = {**event("travel"), "event_id": uuid.uuid4().bytes, "occurred_at": AT}
    table = pa.Table.from_pylist([{n: values.get(n) for n in travel.arrow_schema.names}], travel.arrow_schema)
    pq.write_table(table.append_column("event_type", pa.array(["travel"])), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=1, landed=1)


def test_an_instant_without_a_zone_is_refused(settings: Settings, tmp_path: Path) -> None:
    row = {**event("travel"), "occurred_at": AT.replace(tzinfo=None)}
    pq.write_table(pa.Table.from_pylist([row, {**row, "occurred_at": None}]), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]).rejected == 2
    missing, naive = rejections(settings)
    assert (naive["line"], naive["reason"], naive["format"]) == (1, "bad_instant", "parquet")
    assert json.loads(naive["raw"])["occurred_at"] == "2026-03-02T10:00:00.250000"
    assert (missing["line"], missing["reason"]) == (2, "missing_field")


def test_names_that_differ_in_case_are_different_fields(settings: Settings, tmp_path: Path) -> None:
    row = {"Price": 1, **event("booking", price=2), "PRICE": 3, "a \"b'": 4}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]).landed == 1
    (staged,) = query(settings, "SELECT price, extra FROM staging.booking")
    assert (staged[0], json.loads(staged[1])) == (2, {"Price": 1, "PRICE": 3, "a \"b'": 4})


@pytest.mark.parametrize(
    "packed",
    [lambda ids: ids, lambda ids: ids.cast(pa.large_binary()), lambda ids: ids.dictionary_encode()],
    ids=["binary", "large", "dictionary"],
)
def test_an_id_in_bytes_that_is_none_costs_its_own_row(settings: Settings, tmp_path: Path, packed: Any) -> None:
    ids = [uuid.uuid4().bytes, b"\xff" * 15, None, str(uuid.uuid4()).encode(), uuid.uuid4().bytes]
    columns = {name: pa.array([value] * len(ids)) for name, value in event("travel").items()}
    pq.write_table(pa.table({**columns, "event_id": packed(pa.array(ids, pa.binary()))}), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=5, landed=3, rejected=2)
    assert {r["line"]: r["reason"] for r in rejections(settings)} == {2: "bad_uuid", 3: "missing_field"}
    assert json.loads(rejections(settings, reason="bad_uuid")[0]["raw"])["event_id"] == r"\xFF" * 15


def test_numbers_that_json_does_not_have_are_absent(settings: Settings, tmp_path: Path) -> None:
    nan, endless = float("nan"), float("-inf")
    own = {"own": nan, "own_list": [[1.5, nan], None, [endless]], "min_price": endless}
    own |= {"own_struct": [{'a"b': {"c": nan}, "d": "x"}, None], "own_cases": {"a": 1.5, "A": 2.5}}
    table = pa.Table.from_pylist([event() | own])
    table = table.append_column("own_two", pa.array([[nan, 1.5]], pa.list_(pa.float64(), 2)))
    pq.write_table(table, tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]).landed == 1
    (staged,) = query(settings, "SELECT min_price, extra FROM staging.search")
    assert (staged[0], json.loads(staged[1])) == (
        None,
        {
            "own_cases": {"a": 1.5, "A": 2.5},
            "own_list": [[1.5, None], None, [None]],
            "own_struct": [{'a"b': {"c": None}, "d": "x"}, None],
            "own_two": [None, 1.5],
        },
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.binary(), pa.binary_view()])
def test_a_text_that_is_not_utf8_is_kept_with_its_row(settings: Settings, tmp_path: Path, kind: pa.DataType) -> None:
    channels = [b"seo", b"S\xe3o \xff", "S\u00e3o".encode(), b"", None]
    columns = {name: pa.array([value] * len(channels)) for name, value in event("travel").items()}
    ids = pa.array([str(uuid.uuid4()) for _ in channels])
    texts = pa.array(channels, pa.binary()).view(pa.string())
    pq.write_table(
        pa.table({**columns, "event_id": ids, "channel": texts.cast(kind, safe=False)}), tmp_path / "a.parquet"
    )
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=5, landed=4, rejected=1)
    (row,) = rejections(settings)
    kept = json.dumps(event("travel", event_id=ids[1].as_py(), channel="?"), separators=(",", ":")).encode()
    assert (row["line"], row["reason"], row["raw"]) == (2, "not_utf8", kept.replace(b"?", channels[1] or b""))
    assert replay(settings).rejected == 1

    nested = pa.ListArray.from_arrays(range(len(channels) + 1), texts.fill_null(""))
    pq.write_table(pa.table({**columns, "event_id": ids, "own": nested}), tmp_path / "b.parquet")
    assert land(settings, [str(tmp_path / "b.parquet")]) == Landed(read=5, conflicts=4, rejected=1)


def test_a_run_holds_no_more_bytes_than_others_though_the_file_holds_a_text_once(tmp_path: Path) -> None:
    text = pa.array(["x" * 300_000]).dictionary_encode().dictionary
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 500 + [None] * 3_000, pa.int32()), text)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": long, "b": long.cast(pa.string()), "n": range(3_500)}), path, compression="zstd")
    assert path.stat().st_size < 1_000_000
    with path.open("rb") as stream:
        runs = [(run.table["line"].to_pylist(), run.table["raw"].nbytes) for run in parquet.read(stream, "a", 3_100)]
    assert [line for lines, _ in runs for line in lines] == list(range(1, 3_501))
    assert max(size for _, size in runs) < 1.1 * MAX_RUN_BYTES
    assert len(runs) < 20


@pytest.mark.parametrize("packed", [False, True], ids=["columns", "structs"])
def test_a_run_of_many_small_values_holds_no_more_bytes_with_their_names(tmp_path: Path, *, packed: bool) -> None:
    flags = {f"loyalty_program_segment_membership_flag_{n:04}": pa.array([True] * 9_000) for n in range(300)}
    structs = pa.StructArray.from_arrays(list(flags.values()), list(flags))
    pq.write_table(pa.table({"a": structs} if packed else flags), tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as stream:
        sizes = [run.table["raw"].nbytes for run in parquet.read(stream, "a", 100_000)]
    assert len(sizes) > 1
    assert max(sizes) < 1.1 * MAX_RUN_BYTES


_READ = """
import sys
from pathlib import Path
from wayfare.landing import parquet
with open(sys.argv[1], "rb") as stream:
    runs = [(len(run.table), len(run.faults)) for run in parquet.read(stream, "a", 200_000)]
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
print(sum(rows for rows, _ in runs), sum(faults for _, faults in runs), peak)
"""


def test_texts_that_are_kept_once_take_no_memory_for_each_row(settings: Settings, tmp_path: Path) -> None:
    rows = [event("search", n) for n in range(153)]
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    texts = pa.array(["x" * 5_000_000, "short"])
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 150 + [1] * 3, pa.int32()), texts)
    pq.write_table(pa.table({**columns, "own": long, "own_2": long}), tmp_path / "a.parquet", compression="zstd")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "include")}
    command = [sys.executable, "-c", _READ, str(tmp_path / "a.parquet")]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    read, too_long, peak = map(int, told.split())
    assert (read, too_long) == (153, 150)
    assert peak < 700
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=153, landed=3, rejected=150)
    (kept, *_) = rejections(settings, limit=1)
    assert (kept["reason"], len(kept["raw"]), kept["raw"][-9:]) == ("line_too_long", MAX_LINE, b"x" * 9)


_TEXT = "x" * 300_000
_ONCE = pa.DictionaryArray.from_arrays(pa.array([None, *[0] * 799], pa.int32()), pa.array([_TEXT]))
_EACH = range(801)


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (_ONCE, {}),
        (_ONCE, {"data_page_version": "2.0"}),
        (pa.StructArray.from_arrays([_ONCE], ["a"]), {}),
        (pa.ListArray.from_arrays(pa.array(_EACH, pa.int32()), _ONCE), {}),
        (pa.ListArray.from_arrays(pa.array([0, *_EACH], pa.int32()), _ONCE), {}),
        (pa.array([_TEXT.encode()] * 800, pa.binary(len(_TEXT))), {}),
        (pa.ExtensionArray.from_storage(pa.json_(), _ONCE.cast(pa.string())), {}),
        (_ONCE.cast(pa.string()), {"use_dictionary": False, "write_batch_size": 4}),
        (_ONCE.cast(pa.string()), {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}),
    ],
    ids=["dictionary", "version 2", "struct", "list", "empty list", "fixed", "json", "small pages", "delta"],
)
def test_so_many_rows_are_unpacked_at_a_time_as_there_is_memory_for(
    tmp_path: Path, column: pa.Array, options: dict[str, Any]
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": column}), path, compression="zstd", store_schema=False, **options)
    with path.open("rb") as stream:
        sizes = [batch.nbytes for batch in parquet._batches(stream, pq.ParquetFile(stream), "a", 10_000)]
    assert len(sizes) > 1
    assert max(sizes) < 2 * MAX_RUN_BYTES


def test_ordinary_rows_are_unpacked_many_at_a_time(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.parquet", range(150_000)
    texts = {f"text_{i}": [f"{n % (1 << i):020}" for n in numbers] for i in range(20)}
    pq.write_table(pa.table({**texts, "n": numbers, "list": [["a"], None, ["b", "c"]] * 50_000}), path)
    with path.open("rb") as stream:
        batches = parquet._batches(stream, pq.ParquetFile(stream), "a", 10_000)
        assert len(next(batches)) == parquet._PIECE_ROWS
        assert len(next(parquet.read(stream, "a", 7)).table) == 7


def test_pages_too_large_or_damaged_are_a_fault(settings: Settings, tmp_path: Path) -> None:
    path, texts = tmp_path / "a.parquet", pa.array(["x" * 1_000_000] * 300)
    pq.write_table(pa.table({"own": texts}), path, compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match=r"a\.parquet: in row group 0 a single row takes 300,.*smaller pages"):
        land(settings, [str(path)])
    pq.write_table(pa.table({"own": texts[:1]}), path)
    for header in (bytes(40), b"\x15\x04\x15" + b"\xff" * 40, b"\x1c" * 5_000, b"\x15\x00\x15\x01\x15\x01"):
        path.write_bytes(b"PAR1" + header + path.read_bytes()[4 + len(header) :])
        with pytest.raises(DataError, match="a page of column own is damaged"):
            land(settings, [str(path)])


_DAY = dt.date(2026, 4, 1).toordinal() - dt.date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(
    ("name", "kind", "good", "bad", "reason"),
    [
        *(
            ("occurred_at", pa.timestamp(unit, "UTC"), 1_772_359_200 * 10**digits, bad, "bad_instant")
            for unit, digits in (("ms", 3), ("us", 6))
            for bad in (2**62, 2**63 - 1, -(2**63), 253_402_300_800 * 10**digits)
        ),
        ("start_on", pa.date32(), _DAY, 2**31 - 1, "bad_date"),
        ("own", pa.time32("ms"), 3_600, 2**31 - 1, None),
        ("own", pa.time64("us"), 3_600_000_000, -1, None),
        ("own", pa.duration("ms"), 1, 2**63 - 1, None),
    ],
)
def test_a_time_that_is_none_costs_its_own_row(
    settings: Settings, tmp_path: Path, name: str, kind: pa.DataType, good: int, bad: int, reason: str | None
) -> None:
    rows = [event("search", n) for n in range(3)]
    columns = {column: pa.array([row[column] for row in rows]) for column in rows[0]}
    whole = pa.array([good, bad, good], pa.int32() if kind.bit_width == 32 else pa.int64())
    pq.write_table(pa.table({**columns, name: whole.view(kind)}), tmp_path / "a.parquet")
    landed = land(settings, [str(tmp_path / "a.parquet")])
    if reason is None:
        assert landed == Landed(read=3, landed=3)
        extras = [json.loads(extra)["own"] for (extra,) in query(settings, "SELECT extra FROM staging.search")]
        assert extras.count(bad) == 1
    else:
        assert landed == Landed(read=3, landed=2, rejected=1)
        (row,) = rejections(settings)
        assert (row["line"], row["field"], row["reason"]) == (2, name, reason)
        assert json.loads(row["raw"])[name] == bad
        assert replay(settings).rejected == 1


def test_a_map_is_an_object_and_one_that_repeats_a_key_costs_its_own_row(settings: Settings, tmp_path: Path) -> None:
    maps = [[("a", 1.5), ('b"', None)], [("a", 1.0), ("a", 2.0)], [], None, [("n", float("nan"))]]
    rows = [event("search", n) for n in range(len(maps))]
    columns = {column: pa.array([row[column] for row in rows]) for column in rows[0]}
    own = pa.array(maps, pa.map_(pa.string(), pa.float64()))
    by_number = pa.array([[(1, ["x"])]] * len(maps), pa.map_(pa.int32(), pa.list_(pa.string())))
    pq.write_table(pa.table({**columns, "own": own, "own_2": by_number}), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=5, landed=4, rejected=1)
    (row,) = rejections(settings)
    assert (row["line"], row["reason"]) == (2, "duplicate_key")
    extras = [json.loads(extra) for (extra,) in query(settings, "SELECT extra FROM staging.search ORDER BY event_on")]
    assert [extra.get("own") for extra in extras] == [{"a": 1.5, 'b"': None}, {}, None, {"n": None}]
    assert [extra["own_2"] for extra in extras] == [{"1": ["x"]}] * 4


def test_only_parquet_is_unpacked_and_to_the_settings_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file of something else may unpack to more than there is room for."""
    spool, asked = tempfile.TemporaryFile, list[dict[str, Any]]()

    def spooled(**how: Any) -> Any:
        asked.append(how)
        return spool(**how)

    monkeypatch.setattr(tempfile, "TemporaryFile", spooled)
    file = tmp_path / "a.parquet"
    for content in (b"\0" * 1_000, b"PAR"):
        file.write_bytes(gzip.compress(content))
        with pytest.raises(DataError, match="is not Parquet"):
            land(settings, [str(file)])
    assert asked == []
    pq.write_table(pa.Table.from_pylist([event()]), file)
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert land(settings, [str(file)]).landed == 1
    assert asked == [{"dir": settings.spill_dir}]


def test_what_is_no_parquet_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match="is not Parquet"):
        land(settings, [str(tmp_path / "a.parquet")])
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="columns a more than once"):
        land(settings, [str(tmp_path / "b.parquet")])
