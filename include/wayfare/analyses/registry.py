"""Finding the analyses: every module of this package, and every entry point `wayfare.analyses` of other packages.

An analysis that cannot be imported, whose declaration has problems, or which takes a name that another one takes, is
left out and reported by `broken()`, so that one bad file does not stop the rest. If several take a name, the one in
this package whose module has that name keeps it, so a copied file whose class was not renamed breaks nothing.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections import defaultdict
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import wayfare.analyses
from wayfare.analyses.api import BehaviorAnalysis
from wayfare.analyses.check import names, problems
from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "wayfare.analyses"


def analyses() -> dict[str, BehaviorAnalysis]:
    """Every analysis by name, in alphabetical order."""
    return _found()[0]


def broken() -> dict[str, str]:
    """What is left out: module or entry point, and why."""
    return _found()[1]


def get(name: str) -> BehaviorAnalysis:
    """The analysis called `name`.

    Raises
    ------
    DeclarationError
        There is none; the message lists those there are, or says what is wrong with its file.
    """
    found, failed = _found()
    if name in found:
        return found[name]
    left_out = "".join(f"\n{where}: {why}" for where, why in failed.items())
    raise DeclarationError(f"no analysis is called {name!r}; there are: {', '.join(found)}{left_out}")


@functools.cache
def _found() -> tuple[dict[str, BehaviorAnalysis], dict[str, str]]:
    sources: dict[str, Callable[[], list[type[BehaviorAnalysis]]]] = {
        f"wayfare.analyses.{m.name}": functools.partial(_declared_in, f"wayfare.analyses.{m.name}")
        for m in pkgutil.iter_modules(wayfare.analyses.__path__)
    }
    for point in entry_points(group=GROUP):
        sources[f"entry point {point.name} ({point.value})"] = lambda point=point: [point.load()]  # type: ignore[misc]  # mypy cannot type a lambda's default
    found: list[tuple[str, BehaviorAnalysis]] = []
    failed: dict[str, list[str]] = defaultdict(list)
    for where, load in sources.items():
        try:
            for analysis in [declared() for declared in load()]:
                if wrong := problems(analysis):
                    failed[where] += wrong
                else:
                    found.append((where, analysis))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an author's module raises at import
            failed[where].append(f"cannot be imported: {type(error).__name__}: {error}")
    kept = _without_twins(found, failed)
    return dict(sorted(kept.items())), {where: "\n".join(why) for where, why in failed.items()}


def _without_twins(
    found: list[tuple[str, BehaviorAnalysis]], failed: dict[str, list[str]]
) -> dict[str, BehaviorAnalysis]:
    """Those that take no name which another one takes, or may keep it; why the others are left out goes to `failed`."""
    takers: dict[str, list[tuple[str, BehaviorAnalysis]]] = defaultdict(list)
    for where, analysis in found:
        for name in names(analysis):
            takers[name].append((where, analysis))
    kept: dict[str, BehaviorAnalysis] = {}
    for where, analysis in found:
        if lost := [name for name in names(analysis) if _keeper(takers[name]) is not analysis]:
            name = min(lost, key=lambda name: (len(name), name))
            places = ", ".join(where for where, _ in takers[name])
            failed[where].append(f"analyses of {places} all take the name {name}: rename a class")
        else:
            kept[analysis.name] = analysis
    return kept


def _keeper(takers: list[tuple[str, BehaviorAnalysis]]) -> BehaviorAnalysis | None:
    """The only one that takes a name, else the only one of this package whose module has its name, else None."""
    home = [(where, analysis) for where, analysis in takers if where == f"wayfare.analyses.{analysis.name}"]
    for alone in (takers, home):
        if len(alone) == 1:
            return alone[0][1]
    return None


def _declared_in(module_name: str) -> list[type[BehaviorAnalysis]]:
    module = importlib.import_module(module_name)
    return [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, BehaviorAnalysis) and c is not BehaviorAnalysis and c.__module__ == module_name
    ]
