"""No digest of an event's content: an event that comes again is compared with the one that is staged."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Drop the digests."""
    op.execute("ALTER TABLE staging.identity DROP COLUMN content")
