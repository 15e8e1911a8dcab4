"""Executed by Alembic: the revisions work on the connection they are handed, inside its transaction."""

from alembic import context

from wayfare.staging.migrations import VERSION_SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=VERSION_SCHEMA)
context.run_migrations()
