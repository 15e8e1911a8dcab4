"""Rows of the change log may stand for several batches."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the first of them."""
    op.execute("ALTER TABLE control.change ADD COLUMN first_batch_id bigint")
