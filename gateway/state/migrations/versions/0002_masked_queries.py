"""Apps list the names in queries whose values records keep as digests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; apps that are there list none."""
    with op.batch_alter_table("apps") as apps:
        apps.add_column(sa.Column("masked_queries", sa.JSON(), nullable=True))
    op.execute("UPDATE apps SET masked_queries = '[]'")
    with op.batch_alter_table("apps") as apps:
        apps.alter_column("masked_queries", existing_type=sa.JSON(), nullable=False)
