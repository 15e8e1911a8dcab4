"""A digest of everything that decides an analysis's numbers, so that a change of any of it makes its days stale.

In it: the code as far as the class reaches it, the declared window, grain and columns, the input expectations and the
bounds on the sizes of what it reads (they decide what is quarantined), the contract fields the code names, how the sale
behind a reversal is found, and the settings it reads. Not in it: comments, docstrings, descriptions, tags, owner,
picture and output expectations, which change no number.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from wayfare.contracts.sizes import sizes
from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.contracts import EventType
    from wayfare.settings import Settings

_ANALYSES = "wayfare.analyses"
_FRAMEWORK = {_ANALYSES, f"{_ANALYSES}.api", f"{_ANALYSES}.chunk", f"{_ANALYSES}.registry"}
"""Modules that every analysis imports: what they say about its numbers is digested by value."""
_DECLARED = {"owner", "tags", "reads", "window", "mart", "expect_input", "expect_output", "picture"}
"""Class attributes that are digested by value, or change no number."""
_UNSTABLE = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of syntax nodes that say nothing, or that not every Python version has."""


class _Statement(NamedTuple):
    """A statement of a module: the names it binds (None: it may do more), canonical, and the words in it."""

    binds: set[str] | None
    code: Any
    words: set[str]


class _Module(NamedTuple):
    """Names of what a module imports, as if each were a module, and its statements."""

    imports: set[str]
    statements: list[_Statement]


def fingerprint(settings: Settings, analysis: BehaviorAnalysis) -> str:
    """Hexadecimal SHA-256, the same in every process and Python version.

    Raises
    ------
    DeclarationError
        The source of the analysis cannot be read, or a value it declares is not the same in every process.
    """
    code, names = _reached(_modules(type(analysis)), type(analysis).__name__)
    parts = {
        "code": code,
        "declaration": _declaration(analysis),
        "contracts": {e.name: _contract(e, names) for e in analysis.reads},
        "settings": _settings(settings, names),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON has no form for, in one that does not depend on the process."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    text = str(value)
    if " at 0x" in text:
        raise DeclarationError(
            f"{text} is declared, which differs from process to process: write it as text or a number"
        )
    return text


def canonical(node: Any) -> Any:
    """Syntax as nested lists without comments, docstrings and positions; `ast.dump` differs between versions.

    >>> canonical(ast.parse("x = 1  # one")) == canonical(ast.parse("x   =   1"))
    True
    """
    if isinstance(node, ast.JoinedStr):  # Python 3.12 gives some an empty part that others do not have
        return ["JoinedStr", *(canonical(part) for part in node.values if getattr(part, "value", None) != "")]
    if isinstance(node, ast.AST):
        fields = ((n, v) for n, v in ast.iter_fields(node) if n not in _UNSTABLE and v is not None and v != [])
        return [type(node).__name__, *([name, canonical(value)] for name, value in fields)]
    if isinstance(node, list):
        return [canonical(item) for item in node if not _is_docstring(item)]
    return [type(node).__name__, node if isinstance(node, str) else repr(node)]


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _declaration(analysis: BehaviorAnalysis) -> dict[str, Any]:
    mart = analysis.mart
    return {
        "window": [analysis.window.before, analysis.window.after],
        "mart": [mart.day, mart.vintage, mart.ahead, mart.every.value, mart.version],
        "grain": {name: column.type for name, column in mart.grain.items()},
        "columns": {name: column.type for name, column in mart.columns.items()},
        "expect_input": {
            name: [[e.expectation, dict(e.arguments), e.severity] for e in expectations]
            for name, expectations in analysis.expect_input.items()
        },
    }


def _contract(event_type: EventType, names: set[str]) -> dict[str, Any]:
    """The parts that can change a number: a new optional field, which old events lack, is not one until it is named."""
    from wayfare.snapshots import references

    model, revision, _addition = event_type.version.split("-")
    referring = {"references": references.version(event_type)} if event_type.refers else {}
    return referring | {
        "version": [model, revision],
        "fields": {f.name: f.kind.value for f in event_type.fields if f.name in names},
        "rules": {f"{r.code} {r.field}": r.holds for r in event_type.rules},
        "sizes": _sizes(event_type, names),
    }


def _sizes(event_type: EventType, names: set[str]) -> set[tuple[Any, ...]]:
    """The contract's bounds on sizes, which may change though it does not: what else it expects has landed only so.

    A bound on an optional field that is not named is held without the field's name, as a new one may be.
    """
    unnamed = {f.name for f in event_type.fields if not f.required} - names
    return {("" if column in unnamed else column, *bounds) for column, *bounds in sizes(event_type)}


def _settings(settings: Settings, names: set[str]) -> dict[str, Any]:
    reached_through = {"rates": "currency", "service_level": "service_level"}
    used = {setting: getattr(settings, setting) for name, setting in reached_through.items() if name in names}
    return {"timezone": settings.timezone, **used}


def _modules(analysis: type[BehaviorAnalysis]) -> dict[str, _Module]:
    """The analysis's module and what it imports, however far, from its own package and from `wayfare.analyses`."""
    roots = {_ANALYSES, analysis.__module__.split(".")[0]} - {"wayfare"}
    classes = [c.__name__ for c in analysis.__mro__]
    pending, found = [analysis.__module__], {}
    while pending:
        name = pending.pop()
        source, package = _source(name)
        if source is None:
            continue
        found[name] = _read(source, package, frozenset(c for c in classes if f"class {c}" in source))
        candidates = {c for c in found[name].imports if any(c == r or c.startswith(f"{r}.") for r in roots)}
        pending += sorted(candidates - _FRAMEWORK - found.keys())
    if analysis.__module__ not in found:
        raise DeclarationError(
            f"analysis {analysis.__name__}: the source of {analysis.__module__} cannot be read; "
            "write the analysis in a module of its own"
        )
    return found


@functools.lru_cache(maxsize=256)
def _read(source: str, package: str, classes: frozenset[str]) -> _Module:
    """Kept, because analyses share modules; `classes` are those that may declare."""
    tree = _without_declarations(ast.parse(source), classes)
    code = [(_bound(statement), canonical(statement)) for statement in _statements(tree)]
    return _Module(set(_imported(tree, package)), [_Statement(binds, c, _words(c)) for binds, c in code])


def _source(module: str) -> tuple[str | None, str]:
    """Source of a module, and the package that its relative imports begin from.

    The source is None if there is no such module (an imported name may be a function) or it has none.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None, ""
    get_source = getattr(spec.loader, "get_source", None) if spec else None
    return (get_source(module) if get_source else None), (spec.parent or "") if spec else ""


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Names of what a module of a package imports, as if each were a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            parents = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _without_declarations(tree: ast.Module, classes: frozenset[str]) -> ast.Module:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            node.body = [part for part in node.body if not ((_bound(part) or set()) & _DECLARED)]
    return tree


def _reached(modules: dict[str, _Module], start: str) -> tuple[dict[str, list[Any]], set[str]]:
    """The statements of each module that bind a name used from `start` on, and those that bind none; and their words.

    A name is taken for used wherever the word occurs: rather one day too many rebuilt than one too few.
    """
    pending = [(name, place, s) for name, module in modules.items() for place, s in enumerate(module.statements)]
    reached: list[tuple[str, int, _Statement]] = []
    words = {start}
    while found := [p for p in pending if (binds := p[2].binds) is None or binds & words]:
        pending = [p for p in pending if p not in found]
        reached += found
        words = words.union(*(statement.words for *_, statement in found))
    code: dict[str, list[Any]] = {}
    for name, _, statement in sorted(reached, key=lambda r: r[:2]):
        code.setdefault(name, []).append(statement.code)
    return code, words | _words(list(code))


def _words(code: object) -> set[str]:
    return set(re.findall(r"\w+", json.dumps(code, ensure_ascii=False)))


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Top-level statements, an import of several names as one for each; what is for type checkers only left out."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (ast.Import([alias]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.orelse
        elif not _is_docstring(node):
            yield node


def _bound(statement: ast.stmt) -> set[str] | None:
    """Names that a statement binds and does nothing else; None if it may do more."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return None if statement.decorator_list else {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
        return None if "*" in names else names
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if isinstance(statement, ast.AugAssign) or not all(isinstance(t, ast.Name) for t in targets):
        return None
    return {t.id for t in targets if isinstance(t, ast.Name)}
