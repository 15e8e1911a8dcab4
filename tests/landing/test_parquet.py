"""Parquet columns of every plausible type become what the contract holds."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landing.sample_events import event, query
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import DataError
from wayfare.landing import Landed, land, parquet, rejections, replay
from wayfare.landing.lines import MAX_RUN_BYTES

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
        "children": pa.array([float("nan"), None], pa.float64()),
        "product": pa.array(["hotel", "hotel"]).dictionary_encode(),
        "min_price": pa.array([100, 200], pa.uint16()),
        "currency": pa.array(["EUR", "EUR"], pa.large_string()),
        "is_test": pa.array([None, True]),
        "own_list": pa.array([[1, 2], None]),
        "own_amount": pa.array([Decimal("1.50"), None]),
        "own_float": pa.array([1.0, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]) == Landed(read=2, landed=2)
    found = query(
        settings,
        "SELECT occurred_at, adults, children, min_price, is_test, extra FROM staging.search ORDER BY min_price",
    )
    extra = '{"own_amount":1.50,"own_float":1.0,"own_list":[1,2]}'
    assert found == [(AT, 2, None, 100, False, extra), (AT, 1, None, 200, True, None)]


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
    pq.write_table(pa.Table.from_pylist([event() | own]), tmp_path / "a.parquet")
    assert land(settings, [str(tmp_path / "a.parquet")]).landed == 1
    (staged,) = query(settings, "SELECT min_price, extra FROM staging.search")
    assert (staged[0], json.loads(staged[1])) == (None, {"own_list": [[1.5, None], None, [None]]})


def test_a_text_that_is_not_utf8_is_kept_with_its_row(settings: Settings, tmp_path: Path) -> None:
    channels = [b"seo", b"S\xe3o \xff", "S\u00e3o".encode(), b"", None]
    columns = {name: pa.array([value] * len(channels)) for name, value in event("travel").items()}
    ids = pa.array([str(uuid.uuid4()) for _ in channels])
    texts = pa.array(channels, pa.binary()).view(pa.string())
    pq.write_table(pa.table({**columns, "event_id": ids, "channel": texts}), tmp_path / "a.parquet")
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


def test_what_is_no_parquet_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match="is not Parquet"):
        land(settings, [str(tmp_path / "a.parquet")])
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="columns a more than once"):
        land(settings, [str(tmp_path / "b.parquet")])
