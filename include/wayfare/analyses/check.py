"""Checking what an analysis declares: each problem names the file, the field and what to write instead."""

from __future__ import annotations

import difflib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from wayfare.analyses.api import Additivity, BehaviorAnalysis, Expect
from wayfare.contracts import EVENT_TYPES, EventType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_STAGED = ("event_on", "landed_at", "batch_id", "extra")
_OF_SALES = ("item_", "reversed_", "kept_", "given_")
"""How the columns begin that day files of cancellations, refunds and travel have of the sale."""
_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_SUFFIX_TYPES = {"_minor": "bigint", "_on": "date", "_at": "timestamptz"}


def problems(analysis: BehaviorAnalysis) -> list[str]:
    """What is wrong with a declaration, one sentence each, with file and line; empty where nothing is."""
    checks = (_documentation, _inputs, _mart, _mart_columns, _expectations, _functions)
    found = [problem for check in checks for problem in check(analysis)]
    if not found:
        return []  # without reading the source: every parse of the DAGs comes here
    declared = type(analysis)
    where = f"{Path(inspect.getfile(declared)).name}:{inspect.getsourcelines(declared)[1]}"
    return [f"{where}: {declared.__name__}: {problem}" for problem in found]


def _documentation(analysis: BehaviorAnalysis) -> Iterator[str]:
    if not (type(analysis).__doc__ or "").strip():
        yield "has no docstring; its first line is the question the analysis answers"
    if not analysis.owner.strip():
        yield 'owner is empty; write the team that answers for it, like owner = "analytics"'


def _inputs(analysis: BehaviorAnalysis) -> Iterator[str]:
    reads = getattr(analysis, "reads", ())
    if not reads:
        yield "reads is missing; write the event types it reads, like reads = (BOOKING, SEARCH)"
    for event_type in reads:
        if not isinstance(event_type, EventType):
            yield f"reads holds {event_type!r}; write an event type of wayfare.contracts.events"
    if not all(isinstance(days, int) and days >= 0 for days in (analysis.window.before, analysis.window.after)):
        yield f"window is {analysis.window}; write how many days before and after, like Window(before=7)"


def _mart(analysis: BehaviorAnalysis) -> Iterator[str]:
    mart = getattr(analysis, "mart", None)
    if mart is None:
        yield "mart is missing; write mart = Mart(day=..., grain={...}, columns={...})"
        return
    if mart.day not in mart.grain:
        yield f"mart.day is {mart.day!r}{_nearest(mart.day, mart.grain)}; write a column of the grain"
    elif mart.grain[mart.day].type != "date":
        yield f"mart.grain[{mart.day!r}] is the output day; declare it as key(..., 'date')"
    if mart.ahead and analysis.window.before == 0:
        yield "mart.ahead needs window.before: it says how far output days run ahead of the events"


def _mart_columns(analysis: BehaviorAnalysis) -> Iterator[str]:
    mart = getattr(analysis, "mart", None)
    if mart is None:
        return
    for name, column in mart.all_columns.items():
        if not _SNAKE.fullmatch(name):
            yield f"mart column {name!r} is not snake_case"
        if not column.doc.strip():
            yield f"mart column {name!r} has no description"
        for suffix, wanted in _SUFFIX_TYPES.items():
            if name.endswith(suffix) and column.type != wanted:
                yield f"mart column {name!r} ends in {suffix} and is {column.type}; make it {wanted} or rename it"
    for name in mart.grain:
        if mart.grain[name].additivity is not Additivity.KEY:
            yield f"mart.grain[{name!r}] is not a key; declare it with key(...)"
    for name in set(mart.grain) & set(mart.columns):
        yield f"{name!r} stands in mart.grain and in mart.columns; keep it in the grain"


def _expectations(analysis: BehaviorAnalysis) -> Iterator[str]:
    read = {e.name for e in getattr(analysis, "reads", ()) if isinstance(e, EventType)}
    for name, expected in analysis.expect_input.items():
        if name not in read:
            yield f"expect_input[{name!r}]: it does not read {name}{_nearest(name, read)}"
        else:
            yield from _columns(f"expect_input[{name!r}]", expected, {*EVENT_TYPES[name].by_name, *_STAGED})
            yield from _shares(f"expect_input[{name!r}]", expected)
    if hasattr(analysis, "mart"):
        yield from _columns("expect_output", analysis.expect_output, set(analysis.mart.all_columns))


def _shares(where: str, expected: tuple[Expect, ...]) -> Iterator[str]:
    for expect in expected:
        if expect.severity == "critical" and expect.arguments.get("mostly", 1) < 1:
            yield (
                f"{where}: {expect.expectation}: with `mostly`, what is set aside depends on which days are judged "
                'together; leave it out, or write severity="warning"'
            )


def _columns(where: str, expected: tuple[Expect, ...], columns: Collection[str]) -> Iterator[str]:
    for expect in expected:
        for argument in ("column", "column_A", "column_B"):
            name = expect.arguments.get(argument)
            if name is not None and name not in columns and not str(name).startswith(_OF_SALES):
                yield f"{where}: {expect.expectation}: there is no column {name!r}{_nearest(str(name), columns)}"


def _functions(analysis: BehaviorAnalysis) -> Iterator[str]:
    for name in ("analyze", "totals"):
        if getattr(type(analysis), name) is getattr(BehaviorAnalysis, name):
            yield f"{name} is missing; write def {name}(self, given: Inputs) -> nw.LazyFrame[Any]"


def _nearest(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
