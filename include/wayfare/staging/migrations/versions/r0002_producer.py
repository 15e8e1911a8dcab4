"""Who may send events over HTTP."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the producers."""
    op.execute(
        """
        CREATE TABLE control.producer (
          name text PRIMARY KEY, token_digest bytea NOT NULL, event_types text[] NOT NULL,
          events_per_second integer NOT NULL, added_at timestamptz NOT NULL DEFAULT now(), revoked_at timestamptz)
        """
    )
