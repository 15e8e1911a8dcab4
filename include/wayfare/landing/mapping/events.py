"""One `[[events]]` of a mapping: when a row gives it, its JSON, and what must hold for its fields."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wayfare.contracts import EVENT_TYPES, EventType, Kind
from wayfare.duck import literal
from wayfare.errors import nearest
from wayfare.landing.mapping.values import (
    Check,
    Expression,
    Mistake,
    as_date,
    as_flag,
    as_instant,
    as_text,
    as_whole,
    at,
    known_keys,
    table,
)

if TYPE_CHECKING:
    from wayfare.landing.mapping.scope import Scope

_KEYS = ("type", "key", "when", "fields")
_CONVERT = {Kind.INSTANT: as_instant, Kind.DATE: as_date, Kind.COUNT: as_whole, Kind.FLAG: as_flag}


@dataclass(frozen=True, slots=True)
class Event:
    """SQL of `when` a row gives the event and of its `json`; each check with the SQL of when it matters."""

    when: str
    json: str
    checks: tuple[tuple[str, Check], ...]


def compile_event(scope: Scope, spec: dict[str, Any], event: Any) -> Event:
    """Compile an entry of `[[events]]` of a mapping."""
    known_keys(event, _KEYS, ("type", "key", "fields"))
    called = str(event["type"])
    if called not in EVENT_TYPES:
        raise Mistake(f"no event type is called {called!r}{nearest(called, EVENT_TYPES)}")
    event_type = EVENT_TYPES[called]
    when, checks = _condition(scope, spec, event)
    with at("key"):
        key = as_text(scope.value(event["key"]))
    fields = {
        "source": spec["source"],
        "schema_version": f"{event_type.major}-0-0",  # the same for the same row, whatever the contract gains
        **table(spec, "common"),
        **table(event, "fields"),
    }
    members = {"event_type": literal(event_type.type), "event_id": _event_id(spec["namespace"], event_type.type, key)}
    checks += [(when, check) for check in (*key.checks, _missing(key, event_type, "key"))]
    for name, value in fields.items():
        with at("fields"), at(name):
            compiled = scope.value(value)
            field = event_type.by_name.get(name)
            if field is not None:
                compiled = _converted(compiled, field.kind)
            members[name] = _json(compiled)
        checks += [(when, check) for check in compiled.checks]
        if field is not None and field.required:
            checks.append((when, _missing(compiled, event_type, name)))
    pairs = ", ".join(f"{literal(name)}, {sql}" for name, sql in members.items())
    # A merge patch leaves out what is absent.
    return Event(when, f"CAST(json_merge_patch('{{}}', json_object({pairs})) AS VARCHAR)", tuple(checks))


def _condition(scope: Scope, spec: dict[str, Any], event: dict[str, Any]) -> tuple[str, list[tuple[str, Check]]]:
    """SQL of the condition of all events and that of this one, whose checks matter where the first holds."""
    sql, checks = "true", list[tuple[str, Check]]()
    for place in (spec, event):
        if "when" in place:
            with at("when"):
                condition = scope.condition(place["when"])
            checks += [(sql, check) for check in condition.checks]
            sql = f"({sql} AND {condition.sql})"
    return sql, checks


def _converted(value: Expression, kind: Kind) -> Expression:
    if kind is Kind.UUID:
        raise Mistake("event ids come from `key`; leave this field out")
    if kind is Kind.MONEY:
        if value.type != "whole":
            raise Mistake('an amount is whole minor units; write {money = ..., currency = "..."}')
        return value
    return _CONVERT.get(kind, as_text)(value)


def _missing(value: Expression, event_type: EventType, name: str) -> Check:
    says = f"is absent, but {name} of a {event_type.type} needs it"
    return Check(f"{value.sql} IS NULL", "NULL", "missing", value.label, says)


def _event_id(namespace: Any, name: str, key: Expression) -> str:
    """SQL of UUIDv5(namespace, "<type>/<key>")."""
    try:
        space = uuid.UUID(namespace).hex
    except (ValueError, AttributeError, TypeError):
        raise Mistake(f"namespace {namespace!r} is not a UUID") from None
    digest = f"sha1(unhex('{space}') || encode({literal(name + '/')} || {key.sql}))"
    variant = f"translate({digest}[17:17], '0123456789abcdef', '89ab89ab89ab89ab')"
    return f"CAST(CAST({digest}[1:12] || '5' || {digest}[14:16] || {variant} || {digest}[18:32] AS UUID) AS VARCHAR)"


def _json(value: Expression) -> str:
    """SQL of what json_object writes for a value."""
    if value.type == "instant":
        return f"strftime({value.sql}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({value.text} AS JSON)" if value.type in {"number", "whole", "flag"} else value.text
