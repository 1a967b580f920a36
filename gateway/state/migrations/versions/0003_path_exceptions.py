"""Apps name the exceptions by which their paths are read: a session parameter, a charset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; apps that are there have no exception."""
    with op.batch_alter_table("apps") as apps:
        apps.add_column(sa.Column("path_parameter", sa.Text(), nullable=True))
        apps.add_column(sa.Column("path_charset", sa.Text(), nullable=True))
    op.execute("UPDATE apps SET path_parameter = '', path_charset = ''")
    with op.batch_alter_table("apps") as apps:
        apps.alter_column("path_parameter", existing_type=sa.Text(), nullable=False)
        apps.alter_column("path_charset", existing_type=sa.Text(), nullable=False)
