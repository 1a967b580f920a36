"""Apps may live on several servers, and may have times of their own for an answer."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any], object], ...] = (
    ("upstreams", sa.JSON(), []),
    ("affinity", sa.Text(), "session"),
    ("upstream_first_byte", sa.Double(), 0.0),
    ("upstream_between", sa.Double(), 0.0),
)


def upgrade() -> None:
    """Add the columns; apps that are there live where they lived and keep the gateway's times."""
    with op.batch_alter_table("apps") as apps:
        for name, kind, _ in _COLUMNS:
            apps.add_column(sa.Column(name, kind, nullable=True))
    apps_table = sa.table("apps", *(sa.column(name, kind) for name, kind, _ in _COLUMNS))
    op.execute(apps_table.update().values({name: value for name, _, value in _COLUMNS}))
    with op.batch_alter_table("apps") as apps:
        for name, kind, _ in _COLUMNS:
            apps.alter_column(name, existing_type=kind, nullable=False)
