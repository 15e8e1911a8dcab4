"""A vintage's closed rows move beside its current ones, and marts are indexed by ranges of days."""

from alembic import op
from sqlalchemy import Connection, text

revision = "0005"
down_revision = "0004"

_MARTS = """
SELECT relname, attname AS day, pg_get_userbyid(relowner) AS owner,
  EXISTS (SELECT FROM pg_attribute c WHERE c.attrelid = t.oid AND c.attname = 'superseded_in') AS is_vintage
FROM pg_class t JOIN pg_index ON indrelid = t.oid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = indkey[0]
WHERE relnamespace = to_regnamespace('marts') AND relkind = 'r'
"""


def upgrade() -> None:
    """Change every published mart as its next publication would make it."""
    connection = op.get_bind()
    for name, day, owner, is_vintage in connection.execute(text(_MARTS)).all():
        if not connection.scalar(text("SELECT pg_has_role(:owner, 'USAGE')"), {"owner": owner}):
            op.execute(f'GRANT "{owner}" TO CURRENT_USER')
        if is_vintage:
            _split(connection, name, owner)
        op.execute(f'DROP INDEX IF EXISTS marts."{name}_day"')
        _index(name, day)
        if is_vintage:
            _index(f"{name}_superseded", day)


def _index(name: str, day: str) -> None:
    ranges = f'USING brin ("{day}" date_minmax_multi_ops) WITH (pages_per_range = 32)'
    op.execute(f'CREATE INDEX "{name}_day" ON marts."{name}" {ranges}')


def _split(connection: Connection, name: str, owner: str) -> None:
    columns = [n for n in _columns(connection, f'marts."{name}"') if n != "superseded_in"]
    listed = ", ".join(f'"{n}"' for n in columns)
    op.execute(f'CREATE TABLE marts."{name}_superseded" (LIKE marts."{name}" INCLUDING COMMENTS)')
    op.execute(f'ALTER TABLE marts."{name}_superseded" ALTER COLUMN superseded_in SET NOT NULL')
    op.execute(f'ALTER TABLE marts."{name}_superseded" OWNER TO "{owner}"')
    op.execute(
        f'WITH closed AS (DELETE FROM marts."{name}" WHERE superseded_in IS NOT NULL RETURNING *) '  # noqa: S608 - names of tables that are there
        f'INSERT INTO marts."{name}_superseded" SELECT * FROM closed'
    )
    every = (
        f'(SELECT {listed}, NULL::bigint AS superseded_in FROM marts."{name}" '  # noqa: S608 - names of tables that are there
        f'UNION ALL SELECT {listed}, superseded_in FROM marts."{name}_superseded") mart'
    )
    # the views keep their columns, their grants and what others built on them
    for view, was, becomes in (
        (name, "WHERE (superseded_in IS NULL)", ""),
        (name, "WHERE (mart.superseded_in IS NULL)", ""),
        (f"{name}_history", f"marts.{name} mart", every),
    ):
        (definition,) = connection.execute(text("SELECT pg_get_viewdef(:view)"), {"view": f'bi."{view}"'}).one()
        op.execute(
            text(f'CREATE OR REPLACE VIEW bi."{view}" AS {definition.replace(was, becomes)}'.replace(":", r"\:"))
        )
    op.execute(f'ALTER TABLE marts."{name}" DROP COLUMN superseded_in')


def _columns(connection: Connection, table: str) -> list[str]:
    listed = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:t) AND attnum > 0 AND NOT attisdropped"
    return list(connection.scalars(text(f"{listed} ORDER BY attnum"), {"t": table}))
