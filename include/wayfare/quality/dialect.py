"""The SQLAlchemy dialect through which Great Expectations reads DuckDB.

Great Expectations fetches rows after it has given the connection back, which would end DuckDB's open result. So each
statement has a DuckDB cursor of its own, and no more rows are read than are asked for: 200 of those that break a rule.

It asks for the columns of every table it judges, twice. DuckDB's catalog would look into the files of all views for
that, so one table is described by itself.
"""

# ruff: noqa: ARG002 - SQLAlchemy says what its methods take

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb_sqlalchemy import ConnectionWrapper, Dialect
from sqlalchemy.dialects import registry
from sqlalchemy.engine.reflection import ReflectionDefaults
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    import duckdb
    from duckdb_sqlalchemy import CursorWrapper
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedPrimaryKeyConstraint

URL = "wayfare+duckdb://"


class GateConnection(ConnectionWrapper):
    """A connection whose results outlast its being given back, and are read as they are asked for."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self._connection = connection

    def cursor(self) -> CursorWrapper:
        """A cursor that no other statement uses."""
        return ConnectionWrapper(self._connection.cursor()).cursor()


class GateDialect(Dialect):
    """DuckDB's dialect for tables and views without keys."""

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
