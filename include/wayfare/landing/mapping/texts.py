"""Operations on text, and those that choose between values."""

# ruff: noqa: S608 - by the time SQL is put together, what the mapping says is a literal or a generated name

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wayfare.errors import nearest
from wayfare.landing.mapping.scope import Operation, Scope, pattern
from wayfare.landing.mapping.values import (
    Check,
    Expression,
    Mistake,
    as_text,
    at,
    derived,
    guarded,
    label_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING_FOUND = {"lookup": "not_in_lookup", "extract": "no_match"}
"""Reason for which a row is refused, by operation that finds nothing and is not told what to give otherwise."""


def _lookup(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    name = str(spec["lookup"])
    if name not in scope.lookups:
        raise Mistake(f"no lookup is called {name!r}{nearest(name, scope.lookups)}")
    relation, columns = scope.lookups[name]
    take = spec.get("take", columns[0] if len(columns) == 1 else None)
    if take not in columns:
        raise Mistake(f"needs `take`, a column of lookup {name!r}{nearest(take, columns)}")
    of = scope.inner(spec, "of")
    found = f"(SELECT nullif(l.value_{columns.index(take)}, '') FROM {relation} l WHERE l.key = {of.text})"
    says = f"is not in lookup {name!r}; add it there, or give the lookup an `otherwise`"
    value = _or_otherwise(scope, spec, of, derived([of], found, "text", _NOTHING_FOUND["lookup"], says))
    if "otherwise" in spec or len(columns) == 1:
        return value
    # A row of a file may be there without this cell.
    missing = f"{of.sql} IS NOT NULL AND {of.text} NOT IN (SELECT l.key FROM {relation} l)"
    return replace(value, checks=(*value.checks[:-1], replace(value.checks[-1], fails=missing)))


def _extract(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = scope.inner(spec, "of")
    searched = pattern(spec["extract"])
    groups = len(re.findall(r"\((?!\?)|\(\?P?<", re.sub(r"\\.|\[\^?\]?[^\]]*\]", "", spec["extract"])))
    if groups > 1:
        raise Mistake(f"{spec['extract']!r} has {groups} groups; mark the part to take with one, others are (?:...)")
    found = f"nullif(regexp_extract({of.text}, {searched}, {groups}), '')"
    says = f"does not match {spec['extract']!r}; fix the pattern, or give the extract an `otherwise`"
    return _or_otherwise(scope, spec, of, derived([of], found, "text", _NOTHING_FOUND["extract"], says))


def _or_otherwise(scope: Scope, spec: Mapping[str, Any], of: Expression, found: Expression) -> Expression:
    """`found` of `of`, which must be there unless the operation has an `otherwise`."""
    if "otherwise" not in spec:
        return found
    other = as_text(scope.inner(spec, "otherwise"))
    sql = f"CASE WHEN {of.sql} IS NOT NULL THEN coalesce({found.sql}, {other.sql}) END"
    needed = f"{of.sql} IS NOT NULL AND {found.sql} IS NULL"
    checks = dict.fromkeys([*of.checks, *(guarded(check, needed) for check in other.checks)])
    return Expression(sql, "text", of.label, tuple(checks))


def _cased(scope: Scope, spec: Mapping[str, Any], case: str) -> Expression:
    of = as_text(scope.inner(spec, case))
    return replace(of, sql=f"{case}({of.sql})")


def _first(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = scope.items(spec, "first")
    if len({p.type for p in parts}) > 1:
        raise Mistake(f"its values differ in type: {', '.join(p.type for p in parts)}")
    checks, before = list[Check](), "true"
    for part in parts:
        last = part is parts[-1]
        matter = [c for c in part.checks if last or c.reason not in _NOTHING_FOUND.values()]
        checks += [guarded(check, before) for check in matter]
        before = f"{before} AND {part.sql} IS NULL"
    sql = f"coalesce({', '.join(p.sql for p in parts)})"
    return Expression(sql, parts[0].type, label_of(parts), tuple(dict.fromkeys(checks)))


def _when(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = scope.inner(spec, "value")
    with at("when"):
        condition = scope.condition(spec["when"])
    checks = (*condition.checks, *(guarded(check, condition.sql) for check in of.checks))
    return replace(of, sql=f"CASE WHEN {condition.sql} THEN {of.sql} END", checks=checks)


OPERATIONS = {
    "lookup": Operation(_lookup, ("of",), ("take", "otherwise")),
    "extract": Operation(_extract, ("of",), ("otherwise",)),
    "upper": Operation(lambda scope, spec: _cased(scope, spec, "upper")),
    "lower": Operation(lambda scope, spec: _cased(scope, spec, "lower")),
    "first": Operation(_first),
    "value": Operation(_when, ("when",)),
}
