"""What travel holds for depends on the cancellations before it: those that landed after it have changed its day."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Log these changes, as landing does from now on."""
    op.execute("""
        INSERT INTO control.change (event_type, event_on, batch_id, rows)
        SELECT DISTINCT 'travel', t.event_on, c.batch_id, 0
        FROM staging.travel t JOIN staging.cancellation c ON c.booking_id = t.booking_id
        WHERE c.batch_id > t.batch_id AND (c.occurred_at, c.event_id) < (t.occurred_at, t.event_id)
        ON CONFLICT DO NOTHING
    """)
