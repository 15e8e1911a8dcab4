"""Refused lines are sealed where customers are pseudonymized."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Say of each rejection whether it is; those from before are not."""
    op.execute("ALTER TABLE staging.rejection ADD COLUMN sealed boolean NOT NULL DEFAULT false")
