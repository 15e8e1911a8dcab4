"""The check names what to write instead."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import pytest
from typer.testing import CliRunner

from wayfare import snapshots
from wayfare.analyses import registry
from wayfare.analyses.api import (
    EVER,
    Additivity,
    BehaviorAnalysis,
    Column,
    Expect,
    Mart,
    SqlType,
    Window,
    count,
    key,
    measure,
)
from wayfare.analyses.check import problems
from wayfare.analyses.registry import analyses, broken, get
from wayfare.analyses.sessions import Sessions
from wayfare.cli.scaffold import app
from wayfare.contracts.events import BOOKING, REFUND
from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable


class Wrong(BehaviorAnalysis):
    """Is anything right here?"""

    owner = " "
    tags = ("t" * 101,)
    reads = (BOOKING, BOOKING)
    mart = Mart(
        day="bookd_on",
        grain={"booked_on": key("Day.", "date"), "Channel": measure("Channel.", "text")},
        columns={
            "net_minor": measure("Net."),
            "items": count(" "),
            "booked_on": count("Twice."),
            "c" * 64: count("Long."),
            "is_complete": measure("Paid?", "boolean"),
            "published_at": measure("First seen.", "timestamptz"),
            "ctid": count("Customers."),
        },
        vintage=True,
        ahead=True,
        version=-1,
    )
    expect_input = {  # noqa: RUF012 - as an author may write it
        "bookings": (),
        "booking": (
            Expect("ExpectColumnValuesToNotBeNull", {"column": "unit", "mostly": 0.9}),
            Expect("ExpectColumnValuesToNotBeNull", {"column": ["units", "price"], "mostly": "0.9"}),
        ),
    }


@pytest.mark.parametrize(
    "said",
    [
        "owner is empty",
        "tags holds 'ttt",
        "reads has booking 2 times",
        "mart.ahead needs window.before",
        "mart.day 'bookd_on' is not in mart.grain; did you mean 'booked_on'?",
        "mart column 'Channel' is not snake_case",
        "mart column 'net_minor' ends in _minor",
        "mart column 'items' has no description",
        "mart.grain['Channel'] is not a key",
        "'booked_on' is in both mart.grain and mart.columns",
        "make the name 'wrong_v-1', which is not snake_case",
        f"mart column '{'c' * 64}' is longer than the 63 characters",
        "mart column 'is_complete' is one that the mart has anyway",
        "mart column 'published_at' is one that the mart has anyway",
        "mart column 'ctid' is one that the mart has anyway",
        "expect_input['bookings']: the analysis does not read bookings; did you mean 'booking'?",
        "there is no column 'unit'; did you mean 'units'?",
        "column is ['units', 'price']; write the name of one column",
        "mostly is '0.9'; write a number from 0 to 1",
        "with `mostly`, what is set aside depends on which days are judged together",
        "analyze is missing",
        "totals is missing",
    ],
)
def test_each_mistake_is_told_with_its_place(said: str) -> None:
    told = problems(Wrong())
    assert any(said in problem for problem in told), told
    assert all(problem.startswith("test_check.py:") for problem in told)


@pytest.mark.parametrize("window", [Window(before=-1), Window(after=EVER + 1)])
def test_a_window_that_no_calendar_has_is_told(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong, "window", window)
    assert any(f"window is {window}; write 0 to 36525 days" in problem for problem in problems(Wrong()))


class Mistyped(BehaviorAnalysis):
    """What would no page, no plan and no publication be able to read?"""

    tags = "bookings"  # type: ignore[assignment]  # here and below, the mistake under test
    reads = (BOOKING, "search")  # type: ignore[assignment]
    window = 7  # type: ignore[assignment]
    mart = Mart(
        day="booked_on",
        grain={"booked_on": key("Day.", "date"), 1: Column("One.", "text", "additive")},  # type: ignore[arg-type,dict-item]
        columns={"share": measure("Share.", "numeric"), "items": "count"},  # type: ignore[arg-type,dict-item]
        every="week",  # type: ignore[arg-type]
    )
    expect_input = {"booking": Expect("ExpectColumnToExist")}  # type: ignore[dict-item]  # noqa: RUF012
    expect_output = (Expect("ExpectColumnToExist", {}, "fatal"),)  # type: ignore[arg-type]
    picture = "SELECT 1"  # type: ignore[assignment]


def test_what_is_not_of_its_type_is_told_before_anything_reads_it() -> None:
    told = [problem.split(": Mistyped: ")[1] for problem in problems(Mistyped())]
    assert told == [
        "tags is 'bookings'; write tuple[str, ...]",
        "reads[1] is 'search'; write EventType",
        "window is 7; write Window",
        "a key of mart.grain is 1; write str",
        f"mart.grain[1].additivity is 'additive'; write one of {', '.join(map(str, Additivity))}",
        f"mart.columns['share'].type is 'numeric'; write one of {', '.join(map(repr, get_args(SqlType)))}",
        "mart.columns['items'] is 'count'; write Column",
        "mart.every is 'week'; write one of Every.DAY, Every.WEEK, Every.MONTH",
        f"expect_input['booking'] is {Mistyped.expect_input['booking']!r}; write tuple[Expect, ...]",
        "expect_output[0].severity is 'fatal'; write one of 'critical', 'warning', 'info'",
        "picture is 'SELECT 1'; write Picture",
    ]


def test_a_forgotten_comma_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mistyped, "reads", (BOOKING))
    (told,) = [problem for problem in problems(Mistyped()) if "reads" in problem]
    assert len(told) < 200
    assert "reads is EventType(type='booking'" in told
    assert told.endswith("; write tuple[EventType, ...]")


class Bare(BehaviorAnalysis):
    pass


class WayfareMaintenance(Sessions):
    """Would anything be pruned any more?"""


def test_every_column_of_day_files_may_be_expected_of(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Expect("ExpectColumnToExist", {"column": name}) for name in snapshots.schema(REFUND).names]
    monkeypatch.setattr(Wrong, "reads", (REFUND,))
    monkeypatch.setattr(Wrong, "expect_input", {"refund": tuple(columns)})
    assert not [problem for problem in problems(Wrong()) if "there is no column" in problem]


def test_the_name_of_another_dag_is_refused() -> None:
    (told,) = problems(WayfareMaintenance())
    assert "takes the name wayfare_maintenance, which is Wayfare's own DAG" in told


def test_nothing_is_wrong_with_ours() -> None:
    assert broken() == {}


@pytest.mark.parametrize(
    ("length", "mart", "said"),
    [
        (48, {"vintage": True}, []),
        (49, {"vintage": True}, ["_superseded_day' in PostgreSQL, which keeps 63 characters"]),
        (59, {}, []),
        (60, {}, ["_day' in PostgreSQL, which keeps 63 characters"]),
        (57, {"version": 2}, ["_v2_day' in PostgreSQL, which keeps 63 characters"]),
        (9, {"columns": {}}, ["mart.columns is empty; name at least a count"]),
    ],
)
def test_a_mart_that_could_not_be_published_is_refused(length: int, mart: dict[str, Any], said: list[str]) -> None:
    class Named(Sessions):
        """How long may a name be?"""

        expect_output = ()

    Named.__name__ = "A" + "a" * (length - 1)
    Named.mart = replace(Sessions.mart, **mart)
    assert [said[n] in problem for n, problem in enumerate(problems(Named()))] == [True] * len(said)


@pytest.mark.parametrize(
    ("mart", "other"), [({"version": 2}, "SessionsV2"), ({"vintage": True}, "SessionsHistory"), ({}, "SessionsDay")]
)
@pytest.mark.parametrize(("module", "kept"), [("sessions", ["sessions"]), ("visits", [])])
def test_a_table_view_or_index_is_of_one_analysis(
    monkeypatch: pytest.MonkeyPatch, mart: dict[str, Any], other: str, module: str, kept: list[str]
) -> None:
    """That of the module which is called as it is, where there is one."""

    class Twin(Sessions):
        """Whose is it?"""

    Twin.__name__ = other
    monkeypatch.setattr(Sessions, "mart", replace(Sessions.mart, **mart))
    Twin.mart = replace(Sessions.mart, version=1, vintage=False)
    monkeypatch.setattr(registry, "_declared_in", lambda name: [Sessions, Twin] if name.endswith(module) else [])
    found, failed = registry._found.__wrapped__()
    assert list(found) == kept
    told = f"all take the name {Twin().name}: "
    assert failed[f"wayfare.analyses.{module}"].count(told) == 2 - len(kept)


def test_every_wrong_class_of_a_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {"wayfare.analyses.sessions": [Wrong, Mistyped, Sessions]}
    monkeypatch.setattr(registry, "_declared_in", lambda module: declared.get(module, []))
    found, failed = registry._found.__wrapped__()
    assert list(found) == ["sessions"]
    assert "Wrong: owner is empty" in failed["wayfare.analyses.sessions"]
    assert "Mistyped: window is 7" in failed["wayfare.analyses.sessions"]


_TWINS = "analyses of wayfare.analyses.sessions, entry point theirs (package:Theirs) all take the name sessions: "


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda: Wrong, "owner is empty"),
        (lambda: Mistyped, "window is 7"),
        (lambda: Bare, "has no docstring"),
        (lambda: Sessions, _TWINS),
        (partial(sys.exit, "no key"), "cannot be imported: SystemExit: no key"),
    ],
)
def test_what_is_declared_wrong_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[], type[BehaviorAnalysis]], said: str
) -> None:
    ours = list(analyses())
    point = SimpleNamespace(name="theirs", value="package:Theirs", load=load)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])  # noqa: ARG005
    registry._found.cache_clear()
    try:
        assert list(analyses()) == ours
        assert said in broken()["entry point theirs (package:Theirs)"]
        assert len(broken()) == 1
        done = CliRunner().invoke(app, ["check"])
        assert done.exit_code == 1
        assert said in done.output
    finally:
        registry._found.cache_clear()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(DeclarationError, match="there are: "):
        get("no_such_analysis")
