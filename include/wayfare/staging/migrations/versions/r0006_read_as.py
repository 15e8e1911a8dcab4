"""A refused line with a header is known by its format and its header too.

The digests of sealed lines are under a key that migrating does not have: one that is refused again is kept once more.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Renew the digests of lines with a header."""
    op.execute(
        r"""
        UPDATE staging.rejection
        SET raw_digest = CAST(md5(
          convert_to(format, 'UTF8') || '\x00'::bytea || convert_to(header, 'UTF8') || '\x00'::bytea || raw) AS uuid)
        WHERE header IS NOT NULL
        """
    )
