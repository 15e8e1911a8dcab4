"""Foreign files as they are written: delimiters, encodings, headers, JSON and Parquet, and lookups in other files."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wayfare import duck
from wayfare.errors import DataError, DeclarationError
from wayfare.landing.mapping.declaration import layout
from wayfare.landing.mapping.layout import Layout
from wayfare.landing.mapping.preview import preview
from wayfare.landing.mapping.rows import cells, read, reread_row

if TYPE_CHECKING:
    from wayfare.settings import Settings


def rows(path: Path, written: Layout) -> list[dict[str, str]]:
    """Every row that can be read, by the names of its columns, absent cells left out."""
    found = []
    with duck.connect(threads=1) as connection:
        for lines in read(str(path), written, 2):
            names = next(csv.reader([lines.header or ""]))
            table, _ = cells(connection, lines)
            by_line = table.sort_by("line").drop_columns(["line"]).rename_columns(names).to_pylist()
            found += [{name: cell for name, cell in row.items() if cell is not None} for row in by_line]
    return found


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (b"id,name\n1,Z\xc3\xbcrich\n2,\n3,a\n", Layout()),
        (b"\xef\xbb\xbf id ,name \r\n1,Z\xc3\xbcrich\r\n2,\r\n3,a\r\n", Layout()),
        ("id;name\n1;Z\u00fcrich\n2;\n3;a\n".encode("latin-1"), Layout(delimiter=";", encoding="latin-1")),
        ("id\tname\n1\tZ\u00fcrich\n2\t\n3\ta\n".encode("utf-16"), Layout(delimiter="\t")),
        (b"exported today\n\nid,name\n1,Z\xc3\xbcrich\n2,\n3,a\n", Layout(skip=2)),
        (b"1,Z\xc3\xbcrich\n2,\n3,a\n", Layout(columns=("id", "name"))),
        (b'{"id": 1, "name": "Z\xc3\xbcrich"}\n{"id": 2}\n\n{"id": "3", "name": "a"}\n', Layout(format="jsonl")),
    ],
)
def test_the_same_rows_however_they_are_written(tmp_path: Path, data: bytes, written: Layout) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(data)
    assert rows(file, written) == [{"id": "1", "name": "Z\u00fcrich"}, {"id": "2"}, {"id": "3", "name": "a"}]


def test_cells_stay_as_they_came_though_their_columns_are_called_as_fields(tmp_path: Path) -> None:
    file, written = tmp_path / "data.csv", {"is_test": "TRUE", "adults": "-0", "price": "2.0"}
    file.write_text(f"{','.join(written)}\n{','.join(written.values())}\n", "utf-8")
    assert rows(file, Layout()) == [written]
    (lines,) = read(str(file), Layout(), 9)
    kept = lines.table["raw"][0].as_py()
    assert json.loads(str(reread_row(kept, str(lines.header), "csv", Layout()))) == written


def test_parquet_keeps_its_types_as_text(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    guests = pa.array([{"country": "PT", "city": None}, None])
    cities = ["S\u00e3o".encode(), None]
    pq.write_table(pa.table({"id": [1, 2], "city": cities, "guest": guests, "note": pa.nulls(2, pa.string())}), file)
    assert rows(file, Layout()) == [{"id": "1", "city": "S\u00e3o", "guest.country": "PT"}, {"id": "2"}]
    (lines,) = read(str(file), Layout(), 9)
    assert lines.header == "id,city,guest.country,guest.city,note"
    (lines,) = read(str(file), Layout(columns=("id",)), 9)
    assert lines.header == "id"


def test_what_json_holds_inside_is_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps({"id": "b1", "guest": {"home": {"country": "PT"}}, "paid": True}) + "\n[1]\n{", "utf-8")
    assert rows(file, Layout()) == [{"id": "b1", "guest.home.country": "PT", "paid": "true"}]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_name_with_a_dot_is_a_column_before_it_is_inside_an_object(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"data.{suffix}"
    written = [
        {"id": "1", "guest.country": "PT", "guest": {"country": "ES"}},
        {"id": "2", "guest.country": None, "guest": {"country": "FR"}},
        {"id": "3", "guest.country": "", "guest": {"country": "DE"}},
    ]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(written), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in written), "utf-8")
    assert [row.get("guest.country") for row in rows(file, Layout())] == ["PT", "FR", ""]


def test_what_cannot_be_read_by_its_path_is_no_column(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps({"id": "1", "a.b": {"c": 1}, "d": {"e.f": 2, "g": 3}}), "utf-8")
    assert rows(file, Layout()) == [{"id": "1", "d.g": "3"}]
    (lines,) = read(str(file), Layout(), 9)
    assert lines.header == "id,d.g"


def test_an_escape_counts_inside_quotes_alone(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    lines = [r'"say \"hi\",', r'\\","\""', r"C:\temp,\N", r'"ends\\","""quoted"""', r'5" wide,\\x', r'"\a \\b",end\ ']
    file.write_text("\n".join(["name,more", *lines, ""]), "utf-8")
    assert [tuple(row.values()) for row in rows(file, Layout(escape="\\"))] == [
        ('say "hi",\n\\', '"'), (r"C:\temp", r"\N"), ("ends\\", '"quoted"'), ('5" wide', r"\\x"), (r"a \b", "end\\ "),
    ]  # fmt: skip


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('exported\nid,note\n1,"two\nlines"\n2,\n', "utf-8")
    (lines,) = read(str(file), Layout(skip=1), 9)
    assert lines.table["line"].to_pylist() == [3, 5]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a;b\n1;2\n", "file.delimiter = ';'"),
        (b"a,b,a\n1,2,3\n", "the header names 'a' more than once; name the columns by file.columns"),
        ("id;b\n1;2\n".encode("utf-16-le"), 'file.encoding = "utf-16-le"'),
        ("id,b\r\n1,2\r\n".encode("utf-16-le"), 'file.encoding = "utf-16-le"'),
        (b"id,b\r1,2\r", "a carriage return stands alone outside quotes; end lines with a line feed"),
        (b"\xff,b\n1,2\n", 'file.encoding = "cp1252"'),
        (b"PK\x03\x04more", "is a ZIP archive or an Excel workbook"),
    ],
)
def test_a_file_that_is_written_another_way_says_what_to_declare(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"data\.csv") as caught:
        rows(file, Layout())
    assert words in str(caught.value)


@pytest.mark.parametrize("data", ['[{"a": 1}]\n', '{\n  "a": 1\n}\n'])
def test_json_that_is_not_one_object_a_line_is_refused(tmp_path: Path, data: str) -> None:
    file = tmp_path / "data.json"
    file.write_text(data, encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.json: none of its first lines is a JSON object .* one object per line"):
        rows(file, Layout(format="jsonl"))


@pytest.mark.parametrize("end", [b"\x31", "\udc00x,1\n".encode("utf-16-le", "surrogatepass")])
def test_utf16_that_breaks_off_or_holds_half_a_pair_is_damaged(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes("id,name\n1,a\n".encode("utf-16") + end)
    with pytest.raises(DataError, match=r"data\.csv: 'utf-16.*' codec can't decode .*fix the file"):
        rows(file, Layout())


@pytest.mark.parametrize("name", ["Guest\nname", "Guest\rname", "Guest\r\nname"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_name_may_hold_what_ends_a_line(tmp_path: Path, suffix: str, name: str) -> None:
    file = tmp_path / f"data.{suffix}"
    with file.open("w", encoding="utf-8", newline="") as written:
        if suffix == "csv":
            csv.writer(written).writerows([["id", name], ["1", "Ann"]])
        else:
            json.dump({"id": "1", name: "Ann"}, written)
    assert rows(file, Layout()) == [{"id": "1", name: "Ann"}]


@pytest.mark.parametrize("before", [0, 1_000])
def test_a_row_nested_too_deeply_is_refused_alone_wherever_it_is(tmp_path: Path, before: int) -> None:
    file = tmp_path / "data.jsonl"
    wide = json.dumps({"id": "1", "all": [[]] * 2_000})
    deep = '{"id": "2", "all": ' + "[" * 100_000 + "]" * 100_000 + "}"
    file.write_text("\n".join([*['{"id": "0"}'] * before, wide, deep, wide]), "utf-8")
    (lines,) = read(str(file), Layout(), 2_000)
    with duck.connect(threads=1) as connection:
        table, faults = cells(connection, lines)
    assert {line: fault.reason for line, fault in faults.items()} == {before + 2: "bad_json"}
    assert sorted(table["line"].to_pylist())[-2:] == [before + 1, before + 3]


def test_columns_without_a_name_are_known_by_their_place(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("id,amount,,\n1,2,,x\n", "utf-8")
    assert rows(file, Layout()) == [{"id": "1", "amount": "2", "column 4": "x"}]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('delimiter = ";;"', "file.delimiter: ';;' is not one character"),
        ("escape = '\"'", "file.escape: quotes that are doubled need no escape"),
        ('encoding = "utf9"', "file.encoding: 'utf9' is not an encoding"),
        ('encoding = "base64"', "file.encoding: 'base64' is not an encoding of text; write one like utf-8"),
        ('encoding = "utf-8\\u0000"', "is not an encoding of text"),
        ('format = "xml"', "file.format: 'xml' is not a format"),
        ("skip = -1", "file.skip: -1 is not a number of lines"),
        ('columns = "a,b"', "file.columns: needs a list"),
        ('columns = ["a", "b", "a"]', "file.columns: 'a' is there more than once"),
        ('delimeter = ";"', "file: unknown key 'delimeter'; did you mean 'delimiter'?"),
    ],
)
def test_a_wrong_layout_names_the_key(tmp_path: Path, declared: str, words: str) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(f"[file]\n{declared}\n", "utf-8")
    with pytest.raises(DeclarationError) as caught:
        layout(str(mapping))
    assert words in str(caught.value)


def test_thousands_of_names_that_no_value_mentions_cost_no_time(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        'source = "import:test"\nnamespace = "622ad0e3-41f2-513f-8e45-dd77f4e74562"\n'
        '[[events]]\ntype = "travel"\nkey = "{id}"\nfields.occurred_at = "2026-01-01T00:00:00Z"\n'
        'fields.booking_id = "{id}"\nfields.item_id = "{m.k7}"\nfields.outcome = "completed"\n',
        "utf-8",
    )
    row = {"id": "b1", "m": {f"k{i}": i for i in range(4_000)}}
    (tmp_path / "data.jsonl").write_text(json.dumps(row), "utf-8")
    began = time.process_time()
    seen = preview(settings, str(tmp_path / "m.toml"), [str(tmp_path / "data.jsonl")])
    assert time.process_time() - began < 5
    assert (seen.problems, [event["item_id"] for event in seen.first]) == ([], ["7"])


TICKETS = """
source = "import:tickets"
namespace = "622ad0e3-41f2-513f-8e45-dd77f4e74562"
[file]
delimiter = ";"
[lookups.flight]
path = "flights.csv"
key = "id"
delimiter = ";"
[lookups.zone]
builtin = "iata_zone"
[values]
origin = { lookup = "flight", of = "{flight}", take = "from" }
departs = { instant = { lookup = "flight", of = "{flight}", take = "departs" } }
[[events]]
type = "booking"
key = "{ticket}/{flight}"
fields.occurred_at = "2017-07-01T00:00:00Z"
fields.booking_id = "{ticket}"
fields.item_id = "{ticket}/{flight}"
fields.product = "flight"
fields.resource_id = "flight:{flight}"
fields.origin = "{origin}"
fields.destination = "LED"
fields.start_on = { date = "{departs}", zone = { lookup = "zone", of = "{origin}" } }
fields.gate = { lookup = "flight", of = "{flight}", take = "gate" }
fields.units = 1
fields.price = { money = "{amount}", currency = "RUB" }
fields.currency = "RUB"
"""


def look(settings: Settings, tmp_path: Path, flights: str, tickets: str) -> Any:
    """What an import of tickets would land, with flights in a file of their own."""
    (tmp_path / "m.toml").write_text(TICKETS, "utf-8")
    (tmp_path / "flights.csv").write_text(flights, "utf-8")
    (tmp_path / "tickets.csv").write_text(tickets, "utf-8")
    return preview(settings, str(tmp_path / "m.toml"), [str(tmp_path / "tickets.csv")])


def test_rows_are_joined_with_another_file(settings: Settings, tmp_path: Path) -> None:
    flights = "id;from;departs;gate\n7;SVO;2017-09-10 23:50:00+03;\n8;KHV;2017-09-10 23:50:00+03;4\n"
    tickets = "ticket;flight;amount;;\nT1;8;100.50;;\nT2;7;1;;\nT3;9;1;;\nT4;9;1;;\nT4;x;1;;\n"
    seen = look(settings, tmp_path, flights, tickets)
    assert seen.events == {"booking": 2}
    (first,) = seen.first
    assert (first["origin"], first["start_on"], first["price"], first["gate"]) == ("KHV", "2017-09-11", 10_050, "4")
    (problem,) = seen.problems
    assert (problem.reason, problem.field, problem.line, problem.count) == ("not_in_lookup", "flight", 4, 3)
    assert [message[:10] for message in problem.examples] == ["flight '9'", "flight 'x'"]


def test_a_lookup_has_one_row_for_a_key(settings: Settings, tmp_path: Path) -> None:
    flights = "id;from;departs;gate\n7;SVO;2017-09-10 23:50:00+03;\n7;KHV;2017-09-10 23:50:00+03;\n"
    with pytest.raises(DeclarationError, match=r"lookups.flight: flights.csv has several rows for id '7'"):
        look(settings, tmp_path, flights, "ticket;flight;amount\nT1;7;1\n")


def test_a_row_of_a_lookup_that_is_no_row_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        TICKETS.replace('path = "flights.csv"\nkey = "id"\ndelimiter = ";"', 'path = "flights.jsonl"\nkey = "id"'),
        "utf-8",
    )
    (tmp_path / "flights.jsonl").write_text('{"id":"7","from":"SVO","departs":"","gate":""}\n[8]\n', "utf-8")
    (tmp_path / "tickets.csv").write_text("ticket;flight;amount\nT1;7;1\n", "utf-8")
    with pytest.raises(DeclarationError, match=r"lookups.flight: .*flights.jsonl:2: is not a JSON object"):
        preview(settings, str(tmp_path / "m.toml"), [str(tmp_path / "tickets.csv")])


def test_a_preview_counts_events_with_the_id_of_another_and_lands_nothing(settings: Settings, tmp_path: Path) -> None:
    flights = "id;from;departs;gate\n7;SVO;2017-09-10 23:50:00+03;\n"
    seen = look(settings, tmp_path, flights, "ticket;flight;amount\nT1;7;1\nT1;7;2\nT2;7;3\n")
    assert (seen.events, seen.problems, seen.repeated) == ({"booking": 3}, [], 1)


def test_the_example_of_the_documentation_gives_what_it_says(settings: Settings, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "mappings.md").read_text("utf-8")
    data, mapping = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("csv", "toml"))
    (tmp_path / "stays.csv").write_text(data, "utf-8")
    (tmp_path / "stays.toml").write_text(mapping, "utf-8")
    seen = preview(settings, str(tmp_path / "stays.toml"), [str(tmp_path / "stays.csv")])
    counts = ", ".join(f"{count} {name}" for name, count in seen.events.items())
    assert f"would land {counts}" in page
    assert (seen.problems, seen.repeated) == ([], 0)
    booking, travel = seen.first
    assert (booking["occurred_at"], booking["adults"], booking["children"]) == ("2025-10-11T20:17:00.000000Z", 2, 1)
    assert (booking["price"], booking["currency"], travel["outcome"]) == (123_450, "EUR", "completed")
