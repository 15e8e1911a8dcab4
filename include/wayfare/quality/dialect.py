"""The SQLAlchemy dialect through which Great Expectations reads DuckDB.

Great Expectations fetches rows after it has given the connection back; DuckDB's open result is gone by then. So each
result is buffered as soon as it is there. Results of expectations are aggregates or at most 200 rows.
"""

from __future__ import annotations

from duckdb_sqlalchemy import Dialect, DuckDBExecutionContext
from sqlalchemy.dialects import registry
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

URL = "wayfare+duckdb://"


class BufferingContext(DuckDBExecutionContext):
    """Fetches every row before the cursor is given back."""

    def post_exec(self) -> None:
        """Replace the cursor's own fetching by the rows it holds."""
        super().post_exec()  # type: ignore[no-untyped-call]  # SQLAlchemy has no annotation here
        if self.cursor.description:
            self.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
                self.cursor, self.cursor.description, self.cursor.fetchall()
            )


class BufferingDialect(Dialect):
    """DuckDB's dialect with buffered results."""

    execution_ctx_cls = BufferingContext
    supports_statement_cache = True


registry.register("wayfare.duckdb", __name__, "BufferingDialect")
