"""What a mapping's values may name, and how a value or a condition becomes an expression.

Whatever the mapping says enters SQL as an escaped literal or as the generated name of a known column. Regular
expressions are RE2's, which take time in proportion to the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb

from wayfare.duck import literal
from wayfare.errors import nearest
from wayfare.landing.mapping.values import (
    DATE,
    DECIMAL,
    INSTANT,
    NUMBER,
    Check,
    Expression,
    Mistake,
    as_date,
    as_instant,
    as_number,
    at,
    checks_of,
    guarded,
    known_keys,
    label_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_COMPARISONS = {"above": ">", "below": "<", "at_least": ">=", "at_most": "<="}
_TESTS = ("not", "matches", "present", *_COMPARISONS)


@dataclass(frozen=True, slots=True)
class Operation:
    """How `{name = .., ...}` is compiled, and the keys it needs and may have beside its own."""

    compile: Callable[[Scope, Mapping[str, Any]], Expression]
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Columns and named values, the relation and columns of each lookup, and the operations of the language.

    `mentioned` are the names that were asked for so far. `columns` is SQL of what is computed of a row: each may
    name those before it.
    """

    names: dict[str, Expression]
    lookups: dict[str, tuple[str, tuple[str, ...]]]
    operations: Mapping[str, Operation]
    mentioned: set[str] = field(default_factory=set)
    columns: list[str] = field(default_factory=list)

    def name(self, name: str) -> Expression:
        """The column or named value called `name`."""
        if name not in self.names:
            raise Mistake(f"no column or value is called {name!r}{nearest(name, self.names)}")
        self.mentioned.add(name)
        return self.names[name]

    def computed(self, sql: str) -> str:
        """The name of a column that is computed by `sql`: what is used several times in others is written once."""
        name = f"v{len(self.columns)}"
        self.columns.append(f"{sql} AS {name}")
        return name

    def value(self, spec: Any) -> Expression:
        """Compile a value; a `Mistake` says what is wrong with it and where in it."""
        if isinstance(spec, bool):
            return Expression(str(spec).lower(), "flag", str(spec).lower())
        if isinstance(spec, (int, float)):
            return _constant(spec)
        if isinstance(spec, str):
            return self._text(spec)
        if not isinstance(spec, dict):
            raise Mistake(f"{spec!r} is not a value; write text, a number, true, false or an operation")
        name = next((key for key in spec if key in self.operations), None)
        if name is None:
            wrong = next(iter(spec), "")
            raise Mistake(f"{wrong!r} is not an operation{nearest(wrong, self.operations)}")
        operation = self.operations[name]
        known_keys(spec, (name, *operation.needs, *operation.may_have), operation.needs)
        return operation.compile(self, spec)

    def inner(self, spec: Mapping[str, Any], key: str) -> Expression:
        """Compile the value under a key of an operation."""
        with at(key):
            return self.value(spec[key])

    def items(self, spec: Mapping[str, Any], key: str) -> list[Expression]:
        """Compile the list of values under a key of an operation."""
        if not isinstance(spec[key], list) or not spec[key]:
            raise Mistake(f"{key!r} needs a list of values")
        with at(key):
            return [self.value(item) for item in spec[key]]

    def _text(self, spec: str) -> Expression:
        parts = re.split(r"\{([^{}]*)\}", spec)
        if any("{" in text or "}" in text for text in parts[::2]):
            raise Mistake(f"{spec!r} has a brace without its partner")
        named = [self.name(name) for name in parts[1::2]]
        if not named:
            return Expression(literal(spec), "text", spec, is_constant=True)
        if parts[0::2] == ["", ""]:
            return named[0]
        texts = [literal(text) for text in parts[::2]]
        pieces = [texts[0], *(p for pair in zip((n.text for n in named), texts[1:], strict=True) for p in pair)]
        return Expression(f"({' || '.join(pieces)})", "text", label_of(named), checks_of(named))

    def condition(self, spec: Any) -> Expression:
        """Compile a condition to a flag that is never NULL; what cannot be read matters where the tests before hold."""
        if not isinstance(spec, dict) or not spec:
            raise Mistake('needs tests like {status = "Canceled"}')
        tests, checks = list[Expression](), dict[Check, Check]()
        for name, test in spec.items():
            with at(name):
                found = [self._any(test)] if name == "any" else self._tests(self.name(name), test)
            for one in found:
                before = " AND ".join(t.sql for t in tests)
                for check in one.checks:
                    checks.setdefault(check, guarded(check, before) if before else check)
                tests.append(one)
        both = " AND ".join(test.sql for test in tests)
        return Expression(f"coalesce({both}, false)", "flag", label_of(tests), tuple(checks.values()))

    def _any(self, spec: Any) -> Expression:
        if not isinstance(spec, list) or not spec:
            raise Mistake("needs a list of conditions, one of which must hold")
        options = [self.condition(option) for option in spec]
        return Expression(f"({' OR '.join(o.sql for o in options)})", "flag", label_of(options), checks_of(options))

    def _tests(self, of: Expression, spec: Any) -> list[Expression]:
        if not isinstance(spec, dict):
            return [self._among(of, spec, "IN")]
        if not spec:
            raise Mistake(f"needs a test: {', '.join(_TESTS)}")
        return [self._test(of, test, bound) for test, bound in spec.items()]

    def _test(self, of: Expression, test: str, bound: Any) -> Expression:
        if test == "present" and isinstance(bound, bool):
            return replace(of, sql=f"({of.sql} IS {'NOT ' if bound else ''}NULL)")
        if test == "not":
            return self._among(of, bound, "NOT IN")
        if test == "matches":
            return replace(of, sql=f"regexp_matches({of.text}, {pattern(bound)})")
        if test in _COMPARISONS:
            limit = self.value(bound)
            order = next((_ORDERED[o.type] for o in (of, limit) if o.type in _ORDERED), None) or _as_written(limit)
            left, right = order(of), order(limit)
            checks = checks_of([left, right])
            return replace(left, sql=f"({left.sql} {_COMPARISONS[test]} {right.sql})", checks=checks)
        raise Mistake(f"{test!r} is not a test{nearest(test, _TESTS)}")

    def _among(self, of: Expression, choices: Any, operator: str) -> Expression:
        options = [self.value(c) for c in (choices if isinstance(choices, list) else [choices])]
        subject = as_number(of) if any(o.type == "number" for o in options) else of
        if not options or any(o.type != subject.type for o in options):
            raise Mistake(f"{choices!r} cannot equal {of.label}: its type is {of.type}")
        return replace(subject, sql=f"({subject.sql} {operator} ({', '.join(o.sql for o in options)}))")


_ORDERED = {"date": as_date, "instant": as_instant}


def _as_written(bound: Expression) -> Callable[[Expression], Expression]:
    """How to read what is compared with a bound: as a date or instant if the mapping writes one, else as a number."""
    if not bound.is_constant:
        return as_number
    for shape, order in ((DATE, as_date), (INSTANT, as_instant), (NUMBER, as_number)):
        if re.fullmatch(shape, bound.label):
            return order
    raise Mistake(f"{bound.label!r} is not a number, a date like 2026-01-31 or an instant like 2026-01-31T12:00:00Z")


def _constant(spec: float) -> Expression:
    if not abs(spec) < 1e29:  # NaN neither
        raise Mistake(f"{spec!r} is not a number of at most 29 digits before the point")
    return Expression(f"CAST({literal(str(spec))} AS {DECIMAL})", "number", str(spec))


def pattern(spec: Any) -> str:
    """A SQL literal of a regular expression."""
    if not isinstance(spec, str):
        raise Mistake(f"{spec!r} is not a regular expression")
    try:
        duckdb.execute("SELECT regexp_matches('', ?)", [spec]).fetchall()
    except duckdb.Error as error:
        raise Mistake(f"{spec!r} is not a regular expression: {error}") from None
    return literal(spec)
