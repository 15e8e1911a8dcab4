"""How the schemas `staging` and `control` come to be what `wayfare.staging.tables` declares.

Belongs here: the revisions (`versions`), and what follows from the contracts without one. Does not: roles and grants
(`wayfare.staging.database`), or marts, whose tables follow their declarations when they publish.

Revisions are history: frozen SQL that never imports a declaration. What SchemaVer lets a contract do by itself (gain an
optional field, become a new event type or a new major version) needs no revision; every other change does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, text
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, SetColumnComment, SetTableComment

from wayfare.errors import ConfigurationError, DeclarationError
from wayfare.staging.tables import STAGED, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Executable, Table

VERSION_SCHEMA = "control"


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the revisions that the database lacks up to `to`, inside the connection's transaction.

    Raises
    ------
    ConfigurationError
        The database is at a revision that this version of Wayfare does not know.
    """
    config = _config()
    config.attributes["connection"] = connection
    if revision(connection) not in {None, head()}:  # what is being landed by older code is landed before, or not at all
        connection.execute(text(f"LOCK TABLE {VERSION_SCHEMA}.alembic_version"))
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise ConfigurationError(
            f"the database is at schema revision {revision(connection)}, which this version of Wayfare does not know: "
            "install the version that migrated it, or a later one"
        ) from error


def revision(connection: Connection) -> str | None:
    """The database's revision; None before the first."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": VERSION_SCHEMA})
    return context.get_current_revision()


def known() -> set[str]:
    """Every revision that this version of Wayfare has."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def head() -> str:
    """The revision that this version of Wayfare works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def additions(connection: Connection) -> list[Executable]:
    """Statements that give staging what the contracts gained without a revision: tables, columns, indexes.

    Raises
    ------
    DeclarationError
        A contract gained a required field without becoming a new major version.
    """
    inspector = inspect(connection)
    columns = inspector.get_multi_columns(schema="staging")
    indexes = inspector.get_multi_indexes(schema="staging")
    found: list[Executable] = []
    for table in STAGED.values():
        key = (table.schema, table.name)
        present = {c["name"] for c in columns.get(key, ())}
        indexed = {i["name"] for i in indexes.get(key, ())}
        if present:
            found += [_add_column(connection, table, c) for c in table.columns if c.name not in present]
        else:
            found.append(CreateTable(table))
        found += [CreateIndex(i) for i in sorted(table.indexes, key=lambda i: str(i.name)) if i.name not in indexed]
    return found


def descriptions(connection: Connection) -> Iterator[Executable]:
    """Statements that give tables and columns the descriptions of their declarations, where they differ."""
    inspector = inspect(connection)
    for schema in ("staging", "control"):
        columns = inspector.get_multi_columns(schema=schema)
        comments = inspector.get_multi_table_comment(schema=schema)
        for table in (t for t in metadata.sorted_tables if t.schema == schema):
            key = (schema, table.name)
            if comments[key]["text"] != table.comment:
                yield SetTableComment(table)
            present = {c["name"]: c["comment"] for c in columns[key]}
            yield from (SetColumnComment(c) for c in table.columns if present[c.name] != c.comment)


def _add_column(connection: Connection, table: Table, column: Column[object]) -> Executable:
    if not column.nullable:
        raise DeclarationError(
            f"table {table.fullname} lacks the required field {column.name!r}, and events staged before have no value "
            "for it: declare it optional, or raise the event type's major version, which has a table of its own"
        )
    name = connection.dialect.identifier_preparer.format_table(table)
    return text(f"ALTER TABLE {name} ADD COLUMN {CreateColumn(column).compile(dialect=connection.dialect)}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
