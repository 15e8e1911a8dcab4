"""Checking what an analysis declares: each problem names the file, the field and what to write instead."""

from __future__ import annotations

import enum
import functools
import inspect
import re
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from wayfare.analyses.api import EVER, Additivity, BehaviorAnalysis, Expect
from wayfare.contracts import EVENT_TYPES, EventType
from wayfare.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wayfare.analyses.api import Mart

_STAGED = ("event_on", "landed_at", "batch_id", "extra")
_OF_SALES = ("item_", "reversed_", "kept_", "given_")
"""How the columns begin that day files of cancellations, refunds and travel have of the sale."""
_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_SUFFIX_TYPES = {"_minor": "bigint", "_on": "date", "_at": "timestamptz"}
_LONGEST_TAG = 100
"""Characters of a tag that Airflow stores."""
MAX_IDENTIFIER = 63
"""Characters of a name that PostgreSQL keeps; the rest is cut off, and names that differ only there are one."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
"""How a value is shown: an event type would otherwise come with all of its fields."""
_OF_DAGS = ("wayfare_maintenance",)
"""DAGs that do not belong to an analysis."""
_OF_VIEWS = ("is_complete",)
_OF_VINTAGES = ("published_in", "superseded_in", "published_at", "superseded_at")
_OF_POSTGRESQL = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""Columns that views, tables of vintages and all tables have already."""


def problems(analysis: BehaviorAnalysis) -> list[str]:
    """What is wrong with a declaration, one sentence each, with file and line; empty where nothing is."""
    checks = (_documentation, _inputs, _mart, _mart_columns, _expectations, _functions)
    found = [*_types(analysis)] or [problem for check in checks for problem in check(analysis)]
    if not found:
        return []  # without reading the source: every parse of the DAGs comes here
    declared = type(analysis)
    where = f"{Path(inspect.getfile(declared)).name}:{inspect.getsourcelines(declared)[1]}"
    return [f"{where}: {declared.__name__}: {problem}" for problem in found]


def names(analysis: BehaviorAnalysis) -> set[str]:
    """What an analysis takes in PostgreSQL: its tables, their indexes and its views, and those of its first version."""
    vintage = ("_superseded", "_superseded_day", "_history") if analysis.mart.vintage else ()
    return {f"{name}{end}" for name in (analysis.name, analysis.relation) for end in ("", "_day", *vintage)}


def misnamed(analysis: BehaviorAnalysis) -> Iterator[str]:
    """What is wrong with the names it takes, whatever other analyses take."""
    longest = max(names(analysis), key=len)
    if not _SNAKE.fullmatch(longest):
        yield f"its class and version make the name {analysis.relation!r}, which is not snake_case; rename the class"
    if len(longest) > MAX_IDENTIFIER:
        yield f"takes the name {longest!r} in PostgreSQL, which keeps {MAX_IDENTIFIER} characters; use a shorter one"
    if analysis.name in _OF_DAGS:
        yield f"takes the name {analysis.name}, which is Wayfare's own DAG; rename the class"


def _types(analysis: BehaviorAnalysis) -> Iterator[str]:
    """What is not of the type that `BehaviorAnalysis` says: no other check could read it, and no DAG."""
    for name, kind in _annotated(BehaviorAnalysis).items():
        if hasattr(analysis, name):
            yield from _misfits(name, getattr(analysis, name), get_args(kind)[0])  # of ClassVar


@functools.cache
def _annotated(declared: type) -> dict[str, Any]:
    return get_type_hints(declared, localns={"Mapping": Mapping, "EventType": EventType})


def _misfits(where: str, value: Any, kind: Any) -> Iterator[str]:
    """The parts of a value, itself included, that are of another type than is annotated."""
    if get_origin(kind) is UnionType:  # with None
        yield from () if value is None else _misfits(where, value, get_args(kind)[0])
    elif not _fits(value, kind):
        yield f"{where} is {_SHORT.repr(value)}; write {_wanted(kind)}"
    else:
        for place, part, of in _parts(where, value, kind):
            yield from _misfits(place, part, of)


def _fits(value: Any, kind: Any) -> bool:
    outer = get_origin(kind) or kind
    if outer is Literal:
        return value in get_args(kind)
    return outer is Any or isinstance(value, (tuple, list) if outer is tuple else outer)


def _parts(where: str, value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Place, value and type of what a value consists of."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer is tuple:
        yield from ((f"{where}[{n}]", part, inner[0]) for n, part in enumerate(value))
    elif outer is Mapping:
        yield from ((f"a key of {where}", key, inner[0]) for key in value)
        yield from ((f"{where}[{key!r}]", part, inner[1]) for key, part in value.items())
    elif getattr(kind, "__module__", "") == BehaviorAnalysis.__module__:
        yield from ((f"{where}.{name}", getattr(value, name), of) for name, of in _annotated(kind).items())


def _wanted(kind: Any) -> str:
    """A type as an author writes it, like `Window` or `tuple[str, ...]`, or its values."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if isinstance(kind, enum.EnumMeta):
        return f"one of {', '.join(map(str, kind))}"
    return re.sub(r"(\w+\.)+", "", inspect.formatannotation(kind))


def _documentation(analysis: BehaviorAnalysis) -> Iterator[str]:
    if not (type(analysis).__doc__ or "").strip():
        yield "has no docstring; its first line is the question the analysis answers"
    if not analysis.owner.strip():
        yield 'owner is empty; write the team that answers for it, like owner = "analytics"'
    for tag in analysis.tags:
        if not 0 < len(tag) <= _LONGEST_TAG:
            yield f"tags holds {tag!r}; write a tag of 1 to {_LONGEST_TAG} characters"


def _inputs(analysis: BehaviorAnalysis) -> Iterator[str]:
    if not getattr(analysis, "reads", ()):
        yield "reads is missing; write the event types it reads, like reads = (BOOKING, SEARCH)"
    for name, times in Counter(e.name for e in getattr(analysis, "reads", ())).items():
        if times > 1:
            yield f"reads has {name} {times} times; write it once"
    if not all(0 <= days <= EVER for days in (analysis.window.before, analysis.window.after)):
        yield f"window is {analysis.window}; write 0 to {EVER} days before and after, like Window(before=7)"


def _mart(analysis: BehaviorAnalysis) -> Iterator[str]:
    mart = getattr(analysis, "mart", None)
    if mart is None:
        yield "mart is missing; write mart = Mart(day=..., grain={...}, columns={...})"
        return
    yield from misnamed(analysis)
    if not mart.columns:
        yield "mart.columns is empty; name at least a count, which totals can check"
    if mart.day not in mart.grain:
        yield f"mart.day {mart.day!r} is not in mart.grain{nearest(mart.day, mart.grain)}"
    elif mart.grain[mart.day].type != "date":
        yield f"mart.grain[{mart.day!r}] is the output day; declare it as key(..., 'date')"
    if mart.ahead and analysis.window.before == 0:
        yield "mart.ahead needs window.before: it says how far output days run ahead of the events"


def _mart_columns(analysis: BehaviorAnalysis) -> Iterator[str]:
    mart = getattr(analysis, "mart", None)
    if mart is None:
        return
    for name, column in mart.all_columns.items():
        yield from _column_name(name, mart)
        if not column.doc.strip():
            yield f"mart column {name!r} has no description"
        for suffix, wanted in _SUFFIX_TYPES.items():
            if name.endswith(suffix) and column.type != wanted:
                yield f"mart column {name!r} ends in {suffix} and is {column.type}; make it {wanted} or rename it"
    for name in mart.grain:
        if mart.grain[name].additivity is not Additivity.KEY:
            yield f"mart.grain[{name!r}] is not a key; declare it with key(...)"
    for name in set(mart.grain) & set(mart.columns):
        yield f"{name!r} is in both mart.grain and mart.columns; keep it in the grain"


def _column_name(name: str, mart: Mart) -> Iterator[str]:
    if not _SNAKE.fullmatch(name):
        yield f"mart column {name!r} is not snake_case"
    if len(name) > MAX_IDENTIFIER:
        yield f"mart column {name!r} is longer than the {MAX_IDENTIFIER} characters that PostgreSQL keeps; shorten it"
    if name in (*_OF_VIEWS, *_OF_POSTGRESQL, *(_OF_VINTAGES if mart.vintage else ())):
        yield f"mart column {name!r} is one that the mart has anyway; choose another name"


def _expectations(analysis: BehaviorAnalysis) -> Iterator[str]:
    read = {e.name for e in getattr(analysis, "reads", ())}
    for name, expected in analysis.expect_input.items():
        if name not in read:
            yield f"expect_input[{name!r}]: the analysis does not read {name}{nearest(name, read)}"
        else:
            yield from _columns(f"expect_input[{name!r}]", expected, {*EVENT_TYPES[name].by_name, *_STAGED})
            yield from _shares(f"expect_input[{name!r}]", expected)
    if hasattr(analysis, "mart"):
        yield from _columns("expect_output", analysis.expect_output, set(analysis.mart.all_columns))


def _shares(where: str, expected: tuple[Expect, ...]) -> Iterator[str]:
    for expect in expected:
        mostly = expect.arguments.get("mostly", 1)
        if not isinstance(mostly, int | float):
            yield f"{where}: {expect.expectation}: mostly is {mostly!r}; write a number from 0 to 1"
        elif expect.severity == "critical" and mostly < 1:
            yield (
                f"{where}: {expect.expectation}: with `mostly`, what is set aside depends on which days are judged "
                'together; leave it out, or write severity="warning"'
            )


def _columns(where: str, expected: tuple[Expect, ...], columns: Collection[str]) -> Iterator[str]:
    for expect in expected:
        for argument in ("column", "column_A", "column_B"):
            name = expect.arguments.get(argument)
            if not isinstance(name, str | None):
                yield f"{where}: {expect.expectation}: {argument} is {name!r}; write the name of one column"
            elif name is not None and name not in columns and not name.startswith(_OF_SALES):
                yield f"{where}: {expect.expectation}: there is no column {name!r}{nearest(name, columns)}"


def _functions(analysis: BehaviorAnalysis) -> Iterator[str]:
    for name in ("analyze", "totals"):
        if getattr(type(analysis), name) is getattr(BehaviorAnalysis, name):
            yield f"{name} is missing; write def {name}(self, given: Inputs) -> nw.LazyFrame[Any]"
