"""Hostile corpora: nothing crashes, nothing is lost; what goes in comes out unchanged or is refused with a reason."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from landing.sample_events import event, query, write
from wayfare.contracts.model import MAX_ID
from wayfare.contracts.reference import places
from wayfare.errors import DataError
from wayfare.landing import csv_lines, fast, land, rejections, replay
from wayfare.landing.lines import MAX_RUN_BYTES
from wayfare.landing.messages import RawEvent, message_decoder, refused
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings


@pytest.fixture(params=["row by row", "columnar first"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to type lines: these files are small, and would all be read row by row."""
    monkeypatch.setattr(fast, "FEW", 0 if request.param == "columnar first" else 1_000_000)


def _corpus(shared_data: Path, *parts: str) -> list[Path]:
    files = sorted((shared_data / "hostile").joinpath(*parts).iterdir())
    assert files
    return files


@pytest.mark.usefixtures("_way")
def test_json_files_as_lines_among_good_neighbors(settings: Settings, tmp_path: Path, shared_data: Path) -> None:
    suite = [f for folder in ("test_parsing", "test_transform") for f in _corpus(shared_data, "JSONTestSuite", folder)]
    lines, names = list[bytes](), dict[int, str]()
    for n, file in enumerate(suite):
        good = json.dumps(event("search", n)).encode()
        hostile = file.read_bytes()
        for line in hostile.split(b"\n"):
            lines.append(line)
            if line.strip(b" \t\r"):
                names[len(lines)] = file.name
        lines.append(good)
    landed = land(settings, [write(tmp_path / "a.jsonl", lines)])
    assert landed.landed == len(suite)
    assert landed.rejected == len(names) == landed.read - len(suite)
    refused = {r["line"]: r for r in rejections(settings, limit=10_000)}
    assert refused.keys() == names.keys()
    for line, row in refused.items():
        assert row["raw"] == lines[line - 1].removesuffix(b"\r")
        assert row["message"]


@pytest.mark.usefixtures("_way")
def test_json_members_inside_an_event(settings: Settings, tmp_path: Path, shared_data: Path) -> None:
    """Every file as the value of a field that the contract does not know: y_ lands, n_ is refused."""
    suite = [f for f in _corpus(shared_data, "JSONTestSuite", "test_parsing") if b"\n" not in f.read_bytes().strip()]
    for plain in ("y_", "n_", "i_"):
        lines = [
            json.dumps(event("search", n)).encode()[:-1] + b', "odd": ' + f.read_bytes().strip() + b"}"
            for n, f in enumerate(f for f in suite if f.name.startswith(plain))
        ]
        landed = land(settings, [write(tmp_path / f"{plain}.jsonl", lines)])
        assert landed.landed + landed.duplicates + landed.conflicts + landed.rejected == landed.read == len(lines)
        told = {r["line"]: r for r in rejections(settings, source=f"{plain}.jsonl", limit=1000)}
        names = [f.name for f in suite if f.name.startswith(plain)]
        if plain == "y_":
            doubtful = {names[line - 1]: r["reason"] for line, r in told.items()}
            assert {n: r for n, r in doubtful.items() if r not in {"duplicate_key", "nul_character"}} == {}
        if plain == "n_":
            accepted = {n for i, n in enumerate(names, 1) if i not in told or told[i]["reason"] == "conflict"}
            assert accepted == set()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("name", ["customer_id", "channel", "destination"])
def test_naughty_strings_come_out_unchanged(settings: Settings, tmp_path: Path, shared_data: Path, name: str) -> None:
    strings: list[str] = json.loads((shared_data / "hostile" / "blns" / "blns.json").read_text(encoding="utf-8"))
    events = [event("search", n, session_id=str(n), **{name: text}) for n, text in enumerate(strings)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(e, ensure_ascii=n % 2 == 0) for n, e in enumerate(events)), encoding="utf-8")
    landed = land(settings, [str(path)])
    assert landed.read == len(strings) == landed.landed + landed.rejected
    for session_id, value in query(settings, f"SELECT session_id, {name} FROM staging.search"):
        assert value == strings[int(session_id)]
    refused = rejections(settings, limit=1000)
    assert {r["field"] for r in refused} <= {name}
    assert {strings[r["line"] - 1] for r in refused} == {s for s in strings if not _fits(name, s)}


def _fits(name: str, text: str) -> bool:
    if name == "destination":
        return text in places()["place"].to_pylist()
    return name == "channel" or 1 <= len(text) <= MAX_ID


def test_csv_files_are_read_as_their_json_says(shared_data: Path) -> None:
    for file in _corpus(shared_data, "csv-spectrum", "csvs"):
        text = (file.parents[1] / "json" / f"{file.stem}.json").read_text(encoding="utf-8")
        expected = json.loads(text.replace("1234567890", "2095257564"))  # a slip of the corpus: its CSV has the latter
        content = file.read_bytes()
        if file.stem == "newlines_crlf":  # whose line endings the corpus lost
            content = content.replace(b"\n", b"\r\n")
        runs = list(csv_lines.read(io.BytesIO(content), file.name, 100))
        rows = expected if isinstance(expected, list) else [expected]
        read = [json.loads(text) for run in runs for text in run.table["json"].to_pylist()]
        assert read == [{k: v for k, v in row.items() if v} for row in rows], file.name
        raw = b"".join(r for run in runs for r in run.table["raw"].to_pylist())
        assert content.endswith(raw)


def test_csv_files_land_without_loss(settings: Settings, shared_data: Path) -> None:
    for file in _corpus(shared_data, "csv-spectrum", "csvs"):
        landed = land(settings, [str(file)])
        assert landed.read == landed.rejected > 0 or file.stem.startswith("empty")


def _records(content: bytes) -> list[tuple[int, bytes, Any]]:
    read = []
    for run in csv_lines.read(io.BytesIO(content), "a.csv", 2):
        faults = [run.faults.get(i) for i in range(len(run.table))]
        texts = run.table["json"].to_pylist()
        outcomes = [f.reason if f else json.loads(t) for f, t in zip(faults, texts, strict=True)]
        read += zip(run.table["line"].to_pylist(), run.table["raw"].to_pylist(), outcomes, strict=True)
    return read


def test_csv_faults_cost_their_own_line() -> None:
    content = b'\xef\xbb\xbfa,b\n1,2\n\n3\r\n"x\ny",4\n"5"6,7\n8,9,0\n\xff,1\n"open,1\n10,11\n,\n'
    assert _records(content) == [
        (2, b"1,2\n", {"a": "1", "b": "2"}),
        (4, b"3\r\n", "wrong_columns"),
        (5, b'"x\ny",4\n', {"a": "x\ny", "b": "4"}),
        (7, b'"5"6,7\n', "bad_csv"),
        (8, b"8,9,0\n", "wrong_columns"),
        (9, b"\xff,1\n", "not_utf8"),
        (10, b'"open,1\n', "bad_csv"),
        (11, b"10,11\n", {"a": "10", "b": "11"}),
        (12, b",\n", {}),
    ]


def test_a_run_of_a_wide_csv_holds_no_more_bytes_with_the_names_of_its_cells() -> None:
    header = ",".join(f"loyalty_program_segment_membership_flag_{n:04}" for n in range(300)) + "\n"
    runs = list(
        csv_lines.read(io.BytesIO(header.encode() + b"1,2\n" + ("1," * 299 + "1\n").encode() * 5_000), "a", 20_000)
    )
    assert sum(len(run.table) for run in runs) == 5_001
    assert max(run.table["json"].nbytes for run in runs) < 1.5 * MAX_RUN_BYTES


def test_a_csv_line_is_called_too_long_for_its_own_length_only() -> None:
    long = b"x" * (MAX_LINE + 9)
    assert [(line, raw[:5], told) for line, raw, told in _records(b'a,b\nx,"un\n' + long + b"\n1,2\n")] == [
        (2, b'x,"un', "bad_csv"),
        (3, b"xxxxx", "line_too_long"),
        (4, b"1,2\n", {"a": "1", "b": "2"}),
    ]


@pytest.mark.parametrize("end", [b"", b'"x"y\n'])
def test_a_csv_of_stray_quotes_is_read_in_linear_time(end: bytes) -> None:
    started = time.process_time()
    read = _records(b"a,b\n" + b'a","\n' * 60_000 + end + b"1,2\n")
    assert read[-1][1:] == (b"1,2\n", {"a": "1", "b": "2"})
    assert {told for _, _, told in read[:60_000]} == {"bad_csv"}
    assert time.process_time() - started < 20


def test_a_line_that_is_not_utf8_is_kept_byte_for_byte(settings: Settings, tmp_path: Path) -> None:
    broken = json.dumps(event("search", 1, channel="x")).encode().replace(b'"x"', b'"\xff\xfe"')
    landed = land(settings, [write(tmp_path / "a.jsonl", [event("search", 2), broken, event("search", 3)])])
    assert (landed.landed, landed.rejected) == (2, 1)
    assert [(r["line"], r["reason"], r["raw"]) for r in rejections(settings)] == [(2, "not_utf8", broken)]


@pytest.mark.parametrize("key", ["a\0", "\ud800", "\0" * 1_000])
def test_a_name_that_cannot_be_stored_is_told_in_escapes(settings: Settings, tmp_path: Path, key: str) -> None:
    line = b'{%b: 1, %b: 2, "event_type": %b}' % (*(json.dumps(key).encode(),) * 2, json.dumps("\ud800\0x").encode())
    with message_decoder(settings) as decode:
        (rejection,) = decode([RawEvent(1, line)], "test").rejections
    assert json.dumps(key)[:77] in msgspec.json.decode(msgspec.json.encode(refused(rejection)))["message"]
    landed = land(settings, [write(tmp_path / "a.jsonl", [line, event("search", 2)])])
    assert (landed.landed, landed.rejected) == (1, 1)
    (row,) = rejections(settings)
    assert (row["reason"], row["field"], row["raw"]) == ("duplicate_key", None, line)
    assert row["event_type"] == r"\ud800\u0000x"
    assert replay(settings).rejected == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("event_type,adults\nsearch,2\n".encode("utf-16-le"), "holds NUL characters, as UTF-16 does"),
        ("event_type,adults\r\nsearch,2\r\n".encode("utf-16"), "holds NUL characters, as UTF-16 does"),
        (b"event_type,adults\rsearch,2\r", "is not CSV: a carriage return stands alone outside quotes; end lines with"),
        (b"event_type;adults\nsearch;2\n", "is one cell, .* separated by ';': .* says delimiter = ';'"),
        (b"event_type\tadults\r\nsearch\t2\r\n", r"is one cell, .* says delimiter = '\\t'"),
    ],
)
def test_a_csv_written_another_way_is_told_by_its_header(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv:1: the header {told}"):
        _records(content)
