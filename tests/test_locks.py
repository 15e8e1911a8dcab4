"""What runs in production needs nothing that only development has."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from wayfare.settings import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = {"wayfare", "wayfare_airflow"}


def imported() -> Iterator[tuple[str, str]]:
    """File and top-level module of every import in what the image holds."""
    for part in ("dags", "include", "plugins"):
        for path in (PROJECT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                yield from ((path.name, name.partition(".")[0]) for name in names)


def test_production_has_what_is_imported() -> None:
    lock = (PROJECT / "requirements-production.txt").read_text("utf-8")
    locked = {_normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    assert "pytest" not in locked
    packages = metadata.packages_distributions()
    others = {(file, module) for file, module in imported() if module not in OURS | sys.stdlib_module_names}
    missing = {(file, m) for file, m in others if not locked & {_normal(name) for name in packages.get(m, [])}}
    assert missing == set()


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
