"""Certificate revocation lists of the authorities that issue devices' certificates, and the numbers on them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the two tables; there was no list before."""
    op.create_table(
        "revocation_lists",
        sa.Column("id", sa.Text(), nullable=False), sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False), sa.Column("this_update", sa.Double(), nullable=False),
        sa.Column("next_update", sa.Double(), nullable=False), sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False), sa.Column("read_at", sa.Double(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revocation_lists"),
    )  # fmt: skip
    op.create_table(
        "revoked_serials",
        sa.Column("id", sa.Text(), nullable=False), sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("serials", sa.Text(), nullable=False), sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revoked_serials"),
    )  # fmt: skip
    op.create_index("ix_revoked_serials_authority", "revoked_serials", ["authority"])
