"""Finding the analyses: every module of this package, and every entry point `wayfare.analyses` of other packages."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points

import wayfare.analyses
from wayfare.analyses.api import BehaviorAnalysis
from wayfare.errors import DeclarationError


@functools.cache
def analyses() -> dict[str, BehaviorAnalysis]:
    """Every analysis by name, in alphabetical order.

    Raises
    ------
    DeclarationError
        Two analyses have the same name.
    """
    modules = [f"wayfare.analyses.{m.name}" for m in pkgutil.iter_modules(wayfare.analyses.__path__)]
    classes = [c for name in modules for c in _declared_in(name)]
    classes += [point.load() for point in entry_points(group="wayfare.analyses")]
    found: dict[str, BehaviorAnalysis] = {}
    for made in sorted((c() for c in classes), key=lambda a: a.name):
        if made.name in found:
            other = type(found[made.name])
            raise DeclarationError(
                f"two analyses are called {made.name}: {other.__module__} and {type(made).__module__}; rename one class"
            )
        found[made.name] = made
    return found


def get(name: str) -> BehaviorAnalysis:
    """The analysis called `name`.

    Raises
    ------
    DeclarationError
        There is none; the message lists those there are.
    """
    try:
        return analyses()[name]
    except KeyError:
        raise DeclarationError(f"no analysis is called {name!r}; there are: {', '.join(analyses())}") from None


def _declared_in(module_name: str) -> list[type[BehaviorAnalysis]]:
    module = importlib.import_module(module_name)
    return [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, BehaviorAnalysis) and c is not BehaviorAnalysis and c.__module__ == module_name
    ]
