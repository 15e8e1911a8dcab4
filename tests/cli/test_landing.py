"""The landing commands: closing line, JSON, exit statuses."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from landing.sample_events import event, write
from wayfare.cli.landing import app
from wayfare.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

RUNNER = CliRunner()
pytestmark = pytest.mark.usefixtures("settings")


def test_land_says_what_became_of_the_lines(tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl", [event("search", n) for n in range(3)])
    done = RUNNER.invoke(app, ["land", good])
    assert (done.exit_code, done.output) == (0, "3 lines read: 3 landed, 0 duplicates, 0 conflicts, 0 rejected\n")
    mixed = write(tmp_path / "b.jsonl", [event("search", 1), event("search", 2, adults=5), b"nonsense"])
    done = RUNNER.invoke(app, ["land", mixed, good])
    assert done.exit_code == 1
    assert done.output.startswith("6 lines read: 0 landed, 4 duplicates, 1 conflicts, 1 rejected\n")
    assert RUNNER.invoke(app, ["land", "--quiet", good]).output == ""


def test_land_answers_a_program() -> None:
    line = json.dumps(event())
    done = RUNNER.invoke(app, ["land", "-", "--json"], input=line)
    assert json.loads(done.output) == {"read": 1, "landed": 1, "duplicates": 0, "conflicts": 0, "rejected": 0}
    done = RUNNER.invoke(app, ["land", "-", "--format", "csv", "--json"], input="event_type\nsearch\n")
    assert (json.loads(done.output)["rejected"], done.exit_code) == (1, 1)


def test_faults_are_no_tracebacks(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["land"]).exit_code == 2
    assert RUNNER.invoke(app, ["land", "x.jsonl", "--format", "xml"]).exit_code == 2
    assert isinstance(RUNNER.invoke(app, ["land", str(tmp_path / "x.jsonl")]).exception, DataError)


def test_a_name_cannot_write_lines_of_its_own(tmp_path: Path) -> None:
    RUNNER.invoke(app, ["land", write(tmp_path / "a\nb:1: [conflict]\x1b[2K\x9b\u202eé.jsonl", [b"{}"])])
    (line,) = RUNNER.invoke(app, ["rejections"]).output.splitlines()
    assert line.startswith(str(tmp_path / r"a\nb:1: [conflict]\u001b[2K\u009b\u202eé.jsonl:1: [missing_field]"))


def test_rejections_and_replay(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["rejections"]).output == "no open rejections\n"
    path = write(tmp_path / "a.jsonl", [event(destination="QQQ"), b"\xff"])
    RUNNER.invoke(app, ["land", path])
    listed = RUNNER.invoke(app, ["rejections", "--reason", "unknown_place", "--since", "2026-01-01"]).output
    assert listed.startswith(f'{path}:1: [unknown_place] destination "QQQ" is not an IATA')
    rows = [json.loads(row) for row in RUNNER.invoke(app, ["rejections", "--json"]).output.splitlines()]
    assert [(row["line"], row.get("raw")) for row in rows] == [(2, None), (1, json.dumps(event(destination="QQQ")))]
    assert base64.b64decode(rows[0]["raw_base64"]) == b"\xff"
    done = RUNNER.invoke(app, ["replay", "--source", "a.jsonl", "--json"])
    assert (json.loads(done.output)["rejected"], done.exit_code) == (2, 1)
    assert RUNNER.invoke(app, ["replay", "--source", "b.jsonl"]).output.startswith("0 lines read")


def test_rejections_that_are_not_listed_are_told(tmp_path: Path) -> None:
    RUNNER.invoke(app, ["land", write(tmp_path / "a.jsonl", [b"{}", b"[]", b"{", event(destination="QQQ")])])
    for form in ([], ["--json"]):
        done = RUNNER.invoke(app, ["rejections", "--limit", "3", *form])
        assert (len(done.stdout.splitlines()), done.stderr) == (3, "and 1 more, refused earlier; --limit 4 lists all\n")
    done = RUNNER.invoke(app, ["rejections", "--limit", "1", "--reason", "bad_json", "--json"])
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_a_name_that_no_open_rejection_has_is_told(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["rejections", "--reason", "no_place"]).stdout == "no open rejections\n"
    RUNNER.invoke(app, ["land", write(tmp_path / "a.jsonl", [b"[]", event(destination="QQQ")])])
    reason = "no open rejection has the reason 'nosuch'; known: not_an_object, unknown_place\n"
    assert RUNNER.invoke(app, ["rejections", "--reason", "nosuch"]).stdout == reason
    assert RUNNER.invoke(app, ["replay", "--reason", "nosuch", "--json"]).stderr == reason
    done = RUNNER.invoke(app, ["rejections", "--event-type", "travel_v2", "--json"])
    assert (done.stdout, done.stderr) == (
        "",
        "no open rejection has the event type 'travel_v2'; did you mean 'travel'?\n",
    )
    for asked in (
        ["--event-type", "booking"],
        ["--source", "b.jsonl"],
        ["--reason", "not_an_object", "--since", "2999-01-01"],
    ):
        assert RUNNER.invoke(app, ["rejections", *asked]).stdout == "no open rejections match\n"
