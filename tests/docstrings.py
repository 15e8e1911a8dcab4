"""The examples in docstrings, run: there `frame(sql)` is the lazy frame of a query, `rows(frame)` its sorted rows."""

from __future__ import annotations

import doctest
from importlib import import_module
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw

if TYPE_CHECKING:
    from pathlib import Path


def with_examples(root: Path) -> list[str]:
    """Names of the modules below a folder of imports that have examples."""
    files = (file for file in root.rglob("*.py") if ">>> " in file.read_text())
    return sorted(".".join(file.relative_to(root).with_suffix("").parts) for file in files)


def check(module: str) -> None:
    """Run a module's examples on DuckDB."""
    connection = duckdb.connect()

    def frame(sql: str) -> nw.LazyFrame[Any]:
        return nw.from_native(connection.sql(sql)).lazy()

    def rows(frame: nw.LazyFrame[Any]) -> list[tuple[Any, ...]]:
        return frame.to_native().order("ALL").fetchall()

    outcome = doctest.testmod(import_module(module), extraglobs={"frame": frame, "rows": rows})
    assert outcome.attempted
    assert outcome.failed == 0
