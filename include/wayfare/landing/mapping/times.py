"""Operations on dates and instants; months are named in English, whatever the machine's locale."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import duckdb

from wayfare.duck import literal
from wayfare.landing.mapping.scope import Operation, Scope
from wayfare.landing.mapping.values import (
    Expression,
    Mistake,
    as_date,
    as_instant,
    as_number,
    as_text,
    as_whole,
    at,
    checks_of,
    derived,
    read_as,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wayfare.landing.mapping.values import Type

_MONTHS = [dt.date(2000, month, 1).strftime("%B").lower() for month in range(1, 13)]
_TIME = "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?"
_LOCAL = "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?)?"


def _strptime(of: Expression, formats: Any) -> str:
    """SQL of text read by the first format that fits, as TIMESTAMP: in UTC where it has an offset, else as written.

    A year before 1000 is refused: `%Y` takes the 26 of 2026 for the year 26.
    """
    listed = formats if isinstance(formats, list) else [formats]
    for form in listed:
        try:
            if not isinstance(form, str) or "%" not in form:
                raise Mistake(f'format {form!r} is not understood; write one like "%d/%m/%Y"')
            duckdb.execute("SELECT try_strptime('', ?)", [form]).fetchall()
        except duckdb.Error as error:
            raise Mistake(f"format {form!r} is not understood: {error}") from None
    if not listed:
        raise Mistake("format needs at least one")
    # Given a list, try_strptime keeps the offset of one row for later rows that have none.
    read = (f"CAST(try_strptime({of.text}, {literal(form)}) AS TIMESTAMP)" for form in listed)
    return f"list_filter([{', '.join(read)}], lambda t: t >= TIMESTAMP '1000-01-01')[1]"


def _written(formats: Any) -> str:
    return " or ".join(formats) if isinstance(formats, list) else str(formats)


def _date(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = scope.inner(spec, "date")
    if "zone" in spec:
        if "format" in spec:
            raise Mistake("a date of an instant takes a zone, a date of text a format")
        return _at_zone(scope, spec, as_instant(of), "CAST(timezone({zone}, {of}) AS DATE)", "date")
    if "format" not in spec:
        return as_date(of)
    sql = f"CAST({_strptime(of, spec['format'])} AS DATE)"
    return derived([of], sql, "date", "not_a_date", f"is not a date written {_written(spec['format'])}")


def _digits(part: Expression, count: str) -> str:
    """SQL of a part of a date as digits, so many of them; NULL where it is anything else. A float's 7.0 is a 7."""
    return f"nullif(regexp_extract({part.text}, '^([0-9]{{{count}}})(\\.0+)?$', 1), '')"


def _year(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    year, month, day = (scope.inner(spec, key) for key in ("year", "month", "day"))
    positions = (f"list_position({[m[:n] for m in _MONTHS]}, lower({month.text}))" for n in (9, 3))
    number = f"coalesce(TRY_CAST({_digits(month, '1,2')} AS INTEGER), {', '.join(positions)})"
    sql = f"TRY_CAST({_digits(year, '4')} || '-' || {number} || '-' || {_digits(day, '1,2')} AS DATE)"
    return derived([year, month, day], sql, "date", "not_a_date", "is not a day of the calendar")


def _shifted(scope: Scope, spec: Mapping[str, Any], key: str, sign: str) -> Expression:
    start, days = as_date(scope.inner(spec, key)), as_whole(scope.inner(spec, "days"))
    sql = f"CASE WHEN abs({days.sql}) < 100000 THEN {start.sql} {sign} CAST({days.sql} AS INTEGER) END"
    return derived([start, days], sql, "date", "not_a_date", "are more than 99,999 days apart")


def _days_from(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    start, end = as_date(scope.inner(spec, "days_from")), as_date(scope.inner(spec, "to"))
    return derived([start, end], f"CAST({end.sql} - {start.sql} AS BIGINT)", "whole", "not_a_date", "are not two dates")


def _at_zone(scope: Scope, spec: Mapping[str, Any], of: Expression, sql: str, type_: Type) -> Expression:
    """`of` turned by SQL with its `{of}` and `{zone}`: a zone of the mapping (default UTC), or one that rows name."""
    with at("zone"):
        zone = as_text(scope.value(spec.get("zone", "UTC")))
        if zone.is_constant:
            if zone.label not in available_timezones():
                raise Mistake(f"zone {zone.label!r} is not an IANA time zone; write one like Europe/Lisbon")
            return replace(of, sql=sql.format(of=of.sql, zone=literal(zone.label)), type=type_)
    known = f"(SELECT z.name FROM pg_timezone_names() z WHERE z.name = {zone.sql} LIMIT 1)"  # noqa: S608 - compiled
    checked = derived([zone], known, "text", "unknown_zone", "is not an IANA time zone like Europe/Lisbon")
    turned = sql.format(of=of.sql, zone=f"coalesce({known}, 'UTC')")
    turned = f"CASE WHEN {zone.sql} IS NOT NULL THEN {turned} END"
    return replace(of, sql=turned, type=type_, checks=checks_of([of, checked]))


def _on(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    day = as_date(scope.inner(spec, "on"))
    with at("at"):
        time = as_text(scope.value(spec["at"]))
        if time.is_constant:
            try:
                dt.time.fromisoformat(time.label)
            except ValueError:
                raise Mistake(f'{time.label!r} is not a time of day like "12:00"') from None
    sql = read_as("TIME", time.sql, _TIME)
    timed = derived([time], sql, "text", "not_a_time", "is not a time of day like 12:00")
    local = replace(day, sql=f"({day.sql} + {sql})", checks=checks_of([day, timed]))
    return _at_zone(scope, spec, local, "timezone({zone}, {of})", "instant")


def _instant(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = scope.inner(spec, "instant")
    if "format" in spec:
        if "zone" in spec and "%z" in str(spec["format"]).lower():
            raise Mistake("the format reads an offset, so a zone has no effect; leave one out")
        says = f"is not an instant written {_written(spec['format'])}"
        local = derived([of], _strptime(of, spec["format"]), "instant", "not_an_instant", says)
    elif "zone" in spec:
        sql = read_as("TIMESTAMP", of.text, _LOCAL)
        says = "is not a local time like 2026-01-31 12:00:00; leave the zone out where it has an offset"
        local = derived([of], sql, "instant", "not_an_instant", says)
    else:
        return as_instant(of)
    return _at_zone(scope, spec, local, "timezone({zone}, {of})", "instant")


def _unix(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = as_number(scope.inner(spec, "unix"))
    micros = f"CAST({of.sql} * 1000000 AS BIGINT)"
    sql = f"CASE WHEN abs({of.sql}) < 1e11 THEN make_timestamptz({micros}) END"
    return derived([of], sql, "instant", "not_an_instant", "is not seconds since 1970; divide milliseconds by 1000")


OPERATIONS = {
    "date": Operation(_date, (), ("format", "zone")),
    "year": Operation(_year, ("month", "day")),
    "before": Operation(lambda scope, spec: _shifted(scope, spec, "before", "-"), ("days",)),
    "after": Operation(lambda scope, spec: _shifted(scope, spec, "after", "+"), ("days",)),
    "days_from": Operation(_days_from, ("to",)),
    "on": Operation(_on, ("at",), ("zone",)),
    "instant": Operation(_instant, (), ("format", "zone")),
    "unix": Operation(_unix),
}
