"""The verdicts of a chunk, which its next judgment replaces, are found by an index."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Index them in place of the time of judgment: what was said last is told by ids, which no clock sets."""
    op.execute("DROP INDEX control.validation_analysis")
    op.execute("CREATE INDEX validation_chunk ON control.validation (analysis, gate, chunk)")
