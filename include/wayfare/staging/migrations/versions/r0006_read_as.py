"""A refused line with a header is known by its format and its header too.

The digests of sealed lines are under a key that migrating does not have: one that is refused again is kept once more.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


_DIGEST = r"""CAST(md5(convert_to(former.format, 'UTF8') || '\x00'::bytea
  || convert_to(former.header, 'UTF8') || '\x00'::bytea || former.raw) AS uuid)"""


def upgrade() -> None:
    """Renew the digests of lines with a header.

    One that was landed again by this version before it migrated is there twice: what became of it last is kept.
    """
    op.execute(
        f"""
        DELETE FROM staging.rejection AS former USING staging.rejection AS again
        WHERE former.header IS NOT NULL AND former.rejection_id < again.rejection_id
          AND (again.source, again.line, again.raw_digest) = (former.source, former.line, {_DIGEST})
        """  # noqa: S608 - the interpolated text is a constant
    )
    op.execute(f"UPDATE staging.rejection AS former SET raw_digest = {_DIGEST} WHERE header IS NOT NULL")  # noqa: S608
