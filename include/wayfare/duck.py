"""DuckDB connections as every room wants them: in memory, in UTC, without a progress bar on somebody's output."""

from __future__ import annotations

import duckdb


def connect(**config: str | bool | float | list[str]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory with the given configuration.

    The zone is set after connecting: until then the extension that knows zones is not loaded.
    """
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection
