"""The SQLAlchemy dialect through which Great Expectations reads DuckDB.

Great Expectations fetches rows after it has given the connection back; DuckDB's open result is gone by then. So each
result is buffered as soon as it is there. Results of expectations are aggregates or at most 200 rows.

It asks for the columns of every table it judges, twice. DuckDB's catalog would look into the files of all views for
that, so one table is described by itself.
"""

# ruff: noqa: ARG002 - SQLAlchemy says what its methods take

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb_sqlalchemy import Dialect, DuckDBExecutionContext
from sqlalchemy.dialects import registry
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.reflection import ReflectionDefaults
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedPrimaryKeyConstraint

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


class GateDialect(Dialect):
    """DuckDB's dialect with buffered results, for tables and views without keys."""

    execution_ctx_cls = BufferingContext
    supports_statement_cache = True

    def get_columns(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[ReflectedColumn]:
        """The columns of one table or view, as SQLAlchemy's inspector wants them."""
        described = connection.exec_driver_sql(f'DESCRIBE "{table_name}"')
        kinds = {row.column_name: self.ischema_names.get(row.column_type.lower(), NullType) for row in described}
        return [{"name": name, "type": kind(), "nullable": True, "default": None} for name, kind in kinds.items()]

    def get_pk_constraint(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> ReflectedPrimaryKeyConstraint:
        """None, whatever the table."""
        return ReflectionDefaults.pk_constraint()


registry.register("wayfare.duckdb", __name__, "GateDialect")
