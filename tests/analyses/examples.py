"""The examples in the docstrings of the shared steps, run on DuckDB."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw

if TYPE_CHECKING:
    from types import ModuleType


def outcome(module: ModuleType) -> doctest.TestResults:
    """What came of a module's examples, in which `frame(sql)` is a query's lazy frame and `rows` its sorted rows."""
    connection = duckdb.connect()

    def frame(sql: str) -> nw.LazyFrame[Any]:
        return nw.from_native(connection.sql(sql)).lazy()

    def rows(frame: nw.LazyFrame[Any]) -> list[tuple[Any, ...]]:
        return frame.to_native().order("ALL").fetchall()

    return doctest.testmod(module, extraglobs={"frame": frame, "rows": rows})
