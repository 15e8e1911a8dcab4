"""Importing files by a mapping: events once, refused rows, and their replay."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wayfare.contracts import EVENT_TYPES
from wayfare.errors import DataError, DeclarationError
from wayfare.landing import land, rejections, replay
from wayfare.landing.mapping.files import import_files, mapped_runs
from wayfare.staging.database import engine
from wayfare.staging.tables import STAGED

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings

MAPPING = """
source = "import:shop"
namespace = "622ad0e3-41f2-513f-8e45-dd77f4e74562"
[common]
occurred_at = { on = "{day}", at = "12:00" }
booking_id = "{id}"
[[events]]
type = "booking"
key = "{id}"
fields.item_id = "{id}"
fields.product = "hotel"
fields.resource_id = "hotel:X/double"
fields.destination = "{place}"
fields.start_on = "{day}"
fields.units = 1
fields.price = { money = "{price}", currency = "EUR" }
fields.currency = "EUR"
[[events]]
type = "cancellation"
key = "{id}"
when = { gone = "yes" }
fields.cancellation_id = "x{id}"
fields.units = 1
fields.initiator = "customer"
"""
HEADER = "id,day,place,price,gone,note\n"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    file = tmp_path / "shop.toml"
    file.write_text(MAPPING, encoding="utf-8")
    return file


def staged(settings: Settings, event_type: str) -> list[sa.Row]:  # type: ignore[type-arg]  # rows of one table
    table = STAGED[event_type]
    with engine(settings.url("owner")).connect() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.booking_id)))


@pytest.mark.parametrize(
    "values",
    [
        f'v9 = {"{upper=" * 150}"{{id}}"{"}" * 150}',
        'v0 = "{id}{id}{id}{id}"\n' + "\n".join(f'v{n} = "{f"{{v{n - 1}}}" * 4}"' for n in range(1, 13)),
    ],
    ids=["deep", "large"],
)
def test_a_mapping_that_makes_too_much_of_a_row_is_at_fault(settings: Settings, tmp_path: Path, values: str) -> None:
    mapping, data = tmp_path / "shop.toml", tmp_path / "shop.csv"
    used = MAPPING.replace("[common]", f'[values]\n{values}\n[common]\nx = "{{v9}}"')
    mapping.write_text(used, encoding="utf-8")
    data.write_text(HEADER + "b1,2026-01-02,FAO,10.50,no,\n" * 50, encoding="utf-8")
    little = settings.model_copy(update={"duckdb_memory_limit": "32MB"})
    with pytest.raises(DeclarationError, match=r"shop\.toml: is nested too deeply or makes too much of a row"):
        import_files(little, str(mapping), [str(data)])


def test_a_row_of_many_events_is_in_memory_once(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    data.write_text(HEADER + f"b1,2026-01-02,FAO,10.50,yes,{'x' * 100_000}\n" * 10, encoding="utf-8")
    with mapped_runs(settings, str(mapping), [str(data)], None) as runs:
        (lines,) = runs
    assert len(lines.table) == 20
    assert lines.table["raw"].nbytes < 1_100_000


def test_rows_land_as_events_once(
    settings: Settings, mapping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "shop.csv.gz"
    with gzip.open(data, "wt", encoding="utf-8") as file:
        file.write(HEADER + 'b1,2026-01-02,FAO,10.50,no,\nb2,2026-01-03,FNC,7,yes,"two\nlines"\n')
    landed = import_files(settings, str(mapping), [str(data)])
    assert (landed.read, landed.landed, landed.rejected) == (3, 3, 0)
    assert [(b.booking_id, b.price, str(b.event_on)) for b in staged(settings, "booking")] == [
        ("b1", 1050, "2026-01-02"),
        ("b2", 700, "2026-01-03"),
    ]
    assert [c.booking_id for c in staged(settings, "cancellation")] == ["b2"]
    monkeypatch.setitem(EVENT_TYPES, "booking", replace(EVENT_TYPES["booking"], version="1-0-1"))  # gained a field
    again = import_files(settings, str(mapping), [str(data)])
    assert (again.landed, again.duplicates) == (0, 3)


def test_a_refused_row_is_kept_as_it_came_and_lands_after_a_fix(
    settings: Settings, mapping: Path, tmp_path: Path
) -> None:
    data = tmp_path / "shop.csv"
    rows = ["b1,2026-01-02,FAO,10.50,yes,", "b2,02.01.2026,FAO,7,yes,", "b3,2026-01-02,Faro,7,no,", "b4,2026-01-02"]
    data.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    landed = import_files(settings, str(mapping), [str(data)])
    assert (landed.read, landed.landed, landed.rejected) == (5, 2, 3)
    refused = {r["line"]: r for r in rejections(settings)}
    assert {line: r["raw"].decode().strip() for line, r in refused.items()} == dict(enumerate(rows[1:], start=3))
    assert refused[3]["reason"] == "not_a_date"
    assert "day '02.01.2026'" in refused[3]["message"]
    assert refused[4]["field"] == "destination"
    assert refused[5]["reason"] == "wrong_columns"

    mapping.unlink()
    assert replay(settings).rejected == 3
    gone = "is neither a file nor a mapping that ships with Wayfare; known: hotel_booking_demand, hotel_bookings"
    assert all(gone in r["message"] for r in rejections(settings))
    (tmp_path / "days.csv").write_text("day,day\n", encoding="utf-8")
    mapping.write_text(MAPPING + '[lookups]\ndays = { path = "days.csv", key = "day" }\n', encoding="utf-8")
    assert replay(settings).rejected == 3
    assert all("lookups.days: " in r["message"] and "more than once" in r["message"] for r in rejections(settings))

    mended = MAPPING.replace('on = "{day}"', 'on = "{when}"').replace("{place}", "{where}")
    values = '[values]\nwhen = { lookup = "days", of = "{day}", otherwise = "{day}" }\n'
    values += 'where = { lookup = "places", of = "{place}", otherwise = "{place}" }\n'
    values += '[lookups]\ndays.entries = { "02.01.2026" = "2026-01-02" }\nplaces.entries = { Faro = "FAO" }\n[common]'
    mapping.write_text(mended.replace("[common]", values), encoding="utf-8")
    assert replay(settings).landed == 3
    assert [r["line"] for r in rejections(settings)] == [5]
    assert [b.booking_id for b in staged(settings, "booking")] == ["b1", "b2", "b3"]
    assert [b.booking_id for b in staged(settings, "cancellation")] == ["b1", "b2"]


def test_a_refused_row_that_counts_no_more_is_resolved(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    data.write_text(HEADER + "b1,soon,FAO,7,no,test\nb2,soon,FAO,7,no,x\nb3,2026-01-02,Faro,7,no,x\n", encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data)]).rejected == 3
    mended = MAPPING.replace("[common]", 'when = { note = { not = "test" } }\n[common]')
    mapping.write_text(mended.replace("{place}", "FAO"), encoding="utf-8")
    landed = replay(settings)
    assert (landed.read, landed.landed, landed.rejected) == (2, 1, 1)
    assert [r["line"] for r in rejections(settings)] == [3]
    assert replay(settings).rejected == 1


def test_a_row_is_kept_for_each_way_in_which_it_is_refused(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data, other = tmp_path / "shop.csv", tmp_path / "other.toml"
    data.write_text(HEADER + "b1,soon,FAO,7,no,\n", encoding="utf-8")
    other.write_text(MAPPING.replace('key = "{id}"', 'key = "{id}/2"'), encoding="utf-8")
    land(settings, [str(data)])
    for file in (mapping, other) * 2:
        assert import_files(settings, str(file), [str(data)]).rejected == 1
    assert [r["format"] for r in rejections(settings)] == [f"mapping:{other}", f"mapping:{mapping}", "csv"]
    for file in (mapping, other):
        file.write_text(file.read_text(encoding="utf-8").replace('"{day}"', '"2026-01-02"'), encoding="utf-8")
    assert replay(settings).landed == 2
    assert [r["format"] for r in rejections(settings)] == ["csv"]


def test_a_row_left_out_and_wanted_again_is_open_again(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    data.write_text(HEADER + "b1,soon,FAO,7,no,test\n", encoding="utf-8")
    import_files(settings, str(mapping), [str(data)])
    mapping.write_text(MAPPING.replace("[common]", 'when = { note = { not = "test" } }\n[common]'), encoding="utf-8")
    replay(settings)
    assert rejections(settings) == []
    mapping.write_text(MAPPING.replace('"{day}"', '"{place}"'), encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data)]).rejected == 1
    (row,) = rejections(settings)
    assert "place 'FAO'" in row["message"]
    mapping.write_text(MAPPING.replace('"{day}"', '"{gone}"'), encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data)]).rejected == 1
    (renewed,) = rejections(settings)
    assert (renewed["batch_id"], "gone 'no'" in renewed["message"]) == (row["batch_id"], True)


def test_a_row_of_which_two_events_are_refused_is_kept_once(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    data.write_text(HEADER + "b1,2026-01-02,QQQ,7,yes,\n", encoding="utf-8")
    mapping.write_text(MAPPING.replace("fields.units = 1", "fields.units = -1"), encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data)]).rejected == 2
    assert [(r["line"], r["event_type"]) for r in rejections(settings)] == [(2, "booking")]


def test_a_replay_knows_line_of_the_first_time_and_encoding_and_escape_of_now(
    settings: Settings, tmp_path: Path
) -> None:
    mapping, data = tmp_path / "shop.toml", tmp_path / "shop.csv"
    written = MAPPING.replace('key = "{id}"', 'key = "{@file}:{@line}"').replace(
        "[common]", '[file]\ndelimiter = ";"\n[common]'
    )
    mapping.write_text(written, encoding="utf-8")
    rows = ["b1;2026-01-02;FAO;10.50;no;", "b2;2026-01-03;FAO;7;yes;Z\u00fcrich", r'b3;soon;FAO;7;no;"5\" wide"']
    data.write_bytes((HEADER.replace(",", ";") + "\n".join(rows) + "\n").encode("latin-1"))
    assert import_files(settings, str(mapping), [str(data)]).landed == 1
    assert {r["line"]: r["reason"] for r in rejections(settings)} == {3: "not_utf8", 4: "bad_csv"}
    mapping.write_text(written.replace("[file]", "[file]\nescape = '\\'\nencoding = 'latin-1'"), encoding="utf-8")
    landed = replay(settings)
    assert (landed.landed, landed.rejected) == (2, 1)
    assert "line 4, day 'soon'" in rejections(settings)[0]["message"]
    again = import_files(settings, str(mapping), [str(data)])
    assert (again.landed, again.duplicates, again.rejected) == (0, 3, 1)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_replay_guesses_at_no_byte(settings: Settings, tmp_path: Path, suffix: str) -> None:
    mapping, data = tmp_path / "shop.toml", tmp_path / f"shop.{suffix}"
    written = MAPPING.replace("fields.price", 'fields.guest = "{note}"\nfields.price')
    mapping.write_text(written.replace("[common]", '[file]\nencoding = "cp1252"\n[common]'), encoding="utf-8")
    rows = ["b1,2026-01-02,FAO,7,no,Z\u00fcrich", "b2,2026-01-02,FAO,7,no,S\u00e3o\x81"]
    names = HEADER.strip().split(",")
    as_json = [json.dumps(dict(zip(names, row.split(","), strict=True)), ensure_ascii=False) for row in rows]
    lines = [HEADER.strip(), *rows] if suffix == "csv" else as_json
    data.write_bytes("\n".join(lines).encode("latin-1"))
    assert import_files(settings, str(mapping), [str(data)]).rejected == 1
    assert replay(settings).rejected == 1
    (refused,) = rejections(settings)
    assert (refused["reason"], refused["raw"]) == ("not_utf8", lines[-1].encode("latin-1"))
    assert [json.loads(b.extra)["guest"] for b in staged(settings, "booking")] == ["Z\u00fcrich"]
    mapping.write_text(written.replace("[common]", '[file]\nencoding = "latin-1"\n[common]'), encoding="utf-8")
    assert replay(settings).landed == 1
    assert [json.loads(b.extra)["guest"] for b in staged(settings, "booking")] == ["Z\u00fcrich", "S\u00e3o\x81"]
    assert import_files(settings, str(mapping), [str(data)]).duplicates == 2


def test_a_replay_reads_rows_by_the_columns_that_the_mapping_lists_by_then(
    settings: Settings, mapping: Path, tmp_path: Path
) -> None:
    data, lines = tmp_path / "shop.csv", tmp_path / "shop.jsonl"
    data.write_text(HEADER + "b1,soon,FAO,7,no,2026-01-02\nb2,soon,FAO,7\n", encoding="utf-8")
    row = {"id": "b3", "day": "soon", "place": "FAO", "price": 7, "gone": "no"}
    late = "{}\n" * 1_000 + json.dumps(row | {"id": "b4", "on": "2026-01-03"})
    lines.write_text(json.dumps(row) + "\n" + late, encoding="utf-8")
    when = MAPPING.replace("[common]", "when = { id = { present = true } }\n[common]")
    mapping.write_text(when, encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data), str(lines)]).rejected == 4
    named = '[file]\ncolumns = ["id", "day", "place", "price", "gone", "on"]\n[common]'
    mapping.write_text(when.replace('"{day}"', '"{on}"').replace("[common]", named), encoding="utf-8")
    assert replay(settings).landed == 2
    assert [(r["line"], r["reason"]) for r in rejections(settings)] == [(1, "missing"), (3, "wrong_columns")]


def test_lines_of_two_files_of_one_name_are_told_apart_by_their_folders(settings: Settings, tmp_path: Path) -> None:
    mapping, files = tmp_path / "shop.toml", [tmp_path / month / "sales.csv" for month in ("2026-01", "2026-02")]
    mapping.write_text(MAPPING.replace('"{id}"\nfields.item', '"{@folder}/{@file}/{@line}"\nfields.item'), "utf-8")
    for file in files:
        file.parent.mkdir()
        file.write_text(HEADER + "b1,2026-01-02,FAO,7,no,\nb2,2026-01-02,Faro,7,no,\n", encoding="utf-8")
    landed = import_files(settings, str(mapping), [str(file) for file in files])
    assert (landed.landed, landed.duplicates, landed.rejected) == (2, 0, 2)
    mapping.write_text(mapping.read_text("utf-8").replace('"{place}"', '"FAO"'), "utf-8")
    assert replay(settings).landed == 2


def test_json_lines_are_imported_and_replayed(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.jsonl"
    row = {"id": "b1", "day": "2026-01-02", "place": "FAO", "price": 10.5, "gone": "no"}
    data.write_text(
        json.dumps(row) + "\n" + json.dumps(row | {"id": "b2", "place": "Faro"}) + "\n{\n", encoding="utf-8"
    )
    landed = import_files(settings, str(mapping), [str(data)])
    assert (landed.read, landed.landed, landed.rejected) == (3, 1, 2)
    assert {r["line"]: r["reason"] for r in rejections(settings)} == {2: "bad_place", 3: "bad_json"}
    mended = MAPPING.replace('"{place}"', '{ lookup = "places", of = "{place}", otherwise = "{place}" }')
    mended = mended.replace("[common]", '[lookups]\nplaces.entries = { Faro = "FAO" }\n[common]')
    mapping.write_text(mended, encoding="utf-8")
    assert replay(settings).landed == 1
    assert [b.booking_id for b in staged(settings, "booking")] == ["b1", "b2"]


def test_a_name_that_cannot_be_stored_is_no_column(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.jsonl"
    rows = [{"id": f"b{n}", "day": day, "place": "FAO", "price": 7, "a\0": {"b": 1}, "c\0": 1, "gone": "no"}
            for n, day in enumerate(["2026-01-02", "soon"])]  # fmt: skip
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert import_files(settings, str(mapping), [str(data)]).landed == 1
    (refused,) = rejections(settings)
    assert (refused["header"], json.loads(refused["raw"])) == ("id,day,place,price,gone", rows[1])


def test_a_file_without_the_mapped_columns_is_refused_whole(settings: Settings, mapping: Path, tmp_path: Path) -> None:
    data = tmp_path / "other.csv"
    data.write_text("ident,day\nb1,2026-01-02\n", encoding="utf-8")
    sound = tmp_path / "shop.csv"
    sound.write_text(HEADER + "b1,2026-01-02,FAO,10.50,no,\n", encoding="utf-8")
    with pytest.raises(
        DeclarationError, match=r"other\.csv: .*shop\.toml: .*no column or value is called 'id'"
    ) as told:
        import_files(settings, str(mapping), [str(sound), str(data)])
    assert told.value.__notes__ == ["1 events before that are staged; landing the same input again continues there"]
    with pytest.raises(DataError, match="no such file"):
        import_files(settings, str(mapping), [str(tmp_path / "missing.csv")])
