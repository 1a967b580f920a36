"""Apps say how large the bodies sent to them may be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; apps that are there have the installation's limit."""
    with op.batch_alter_table("apps") as apps:
        apps.add_column(sa.Column("body_limits", sa.JSON(), nullable=True))
    op.execute("UPDATE apps SET body_limits = '[]'")
    with op.batch_alter_table("apps") as apps:
        apps.alter_column("body_limits", existing_type=sa.JSON(), nullable=False)
