"""An event_id tells the batch that staged it, so that an event that comes again is compared within that batch."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Of those staged before it stays unknown: to look it up would read all of staging."""
    op.execute("ALTER TABLE staging.identity ADD COLUMN batch_id bigint")
