"""DuckDB connections as every room wants them: in memory, in UTC, without a progress bar on somebody's output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from wayfare.errors import ConfigurationError, ServiceError, WayfareError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa


def connect(**config: str | bool | float | list[str]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory with the given configuration.

    The zone, its cursors' too, is set after connecting: until then the extension that knows zones is not loaded.
    """
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


def select(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None, **tables: pa.Table
) -> pa.Table:
    """The rows of a query over Arrow tables, which it knows by these names."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return connection.sql(sql, params=parameters).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


def literal(text: str) -> str:
    """A SQL string literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """A SQL list of string literals.

    >>> literals(["a", "it's"])
    "['a', 'it''s']"
    """
    return f"[{', '.join(map(literal, texts))}]"


def out_of_memory(what: str, why: object, spill: object = "the spill folder") -> WayfareError:
    """The error of a step, `what`, for which DuckDB has no more memory, or no room on disk to `spill` to.

    `why` is DuckDB's own message.
    """
    if "max_temp_directory_size" in str(why):
        return ServiceError(f"{what}: there is no more room in {spill} to spill to: {why}")
    return ConfigurationError(
        f"{what} takes more memory than DuckDB is given; raise WAYFARE_DUCKDB_MEMORY_LIMIT or lower "
        f"WAYFARE_CHUNK_ROWS: {why}"
    )
