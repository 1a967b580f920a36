"""The first shape of the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Build every table."""
    _people()
    _things()
    _decisions()
    _once()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(create_constraint=False), nullable=nullable)


def _json(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _people() -> None:
    op.create_table(
        "users",
        _text("id"), _text("login"), _text("name"), _text("email"), _text("department"), _json("groups"), _text("kind"),
        _json("roles"), _flag("disabled"), _time("contract_end", nullable=True), _text("language"), _time("created_at"),
        _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("login", name="uq_users_login"),
    )  # fmt: skip
    op.create_table(
        "factors",
        _text("id"), _text("user_id"), _text("kind"), _text("label"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False), _time("created_at"),
        _time("last_used_at", nullable=True), _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_factors"),
    )  # fmt: skip
    op.create_index("ix_factors_user_id", "factors", ["user_id"])
    op.create_table(
        "sessions",
        _text("id"), _text("user_id"), _text("token_hash"), _json("amr"), _text("acr"), _text("mfa_method"),
        _time("mfa_at", nullable=True), _time("created_at"), _time("expires_at"), _time("idle_limit"),
        _time("last_used_at"), _text("device_id", nullable=True), _text("source_ip"), _text("user_agent"),
        _flag("operator"), _time("ended_at", nullable=True), _text("end_reason"), _text("end_message"),
        _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
    )  # fmt: skip
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_device_id", "sessions", ["device_id"])
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"])
    op.create_table(
        "app_sessions",
        _text("id"), _text("session_id"), _text("app_id"), _text("host"), _text("token_hash"), _time("created_at"),
        _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_app_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_app_sessions_token_hash"),
    )  # fmt: skip
    op.create_index("ix_app_sessions_session_id", "app_sessions", ["session_id"])
    op.create_index("ix_app_sessions_app_id", "app_sessions", ["app_id"])


def _things() -> None:
    op.create_table(
        "devices",
        _text("id"), _text("uuid"), _text("name"), _text("source"), _text("owner"), _text("os"), _text("os_version"),
        _flag("managed", nullable=True), _flag("compliant", nullable=True), _flag("in_grace", nullable=True),
        _flag("encrypted", nullable=True), _flag("jailbroken", nullable=True), _json("failing"),
        _time("patched_at", nullable=True), _time("seen_at", nullable=True), _time("read_at", nullable=True),
        _json("revoked_serials"), _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("uuid", name="uq_devices_uuid"),
    )  # fmt: skip
    op.create_table(
        "apps",
        _text("id"), _text("title"), _text("owner"), _text("contact"), _json("hosts"), _text("upstream"),
        _text("upstream_ca"), _text("sensitivity"), _text("business"), _text("profile"), _json("presets"),
        _text("assertion_header"), _json("methods"), _text("host_header"), _text("durability"), _text("activity"),
        _json("preflight_origins"), _text("health_path"), _json("masked_paths"), _text("state"), _text("created_by"),
        _text("approved_by"), _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_apps"),
    )  # fmt: skip
    op.create_table(
        "locks",
        _text("id"), _text("target"), _text("target_id"), _text("message"), _text("reason"), _text("created_by"),
        _time("created_at"), _time("expires_at", nullable=True), _whole("revision"),
        sa.PrimaryKeyConstraint("id", name="pk_locks"),
    )  # fmt: skip


def _decisions() -> None:
    op.create_table(
        "policies",
        _text("hash"), _text("title"), _text("source"), _text("created_by"), _time("created_at"), _text("state"),
        _text("approved_by"), _whole("revision"), sa.PrimaryKeyConstraint("hash", name="pk_policies"),
    )  # fmt: skip
    op.create_table(
        "approvals",
        _text("id"), _text("kind"), _text("subject"), _text("detail"), _text("requested_by"), _time("requested_at"),
        _time("expires_at"), _text("decided_by"), _time("decided_at", nullable=True), _flag("granted"),
        _whole("revision"), sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )  # fmt: skip
    op.create_table(
        "changes",
        _whole("revision"), _time("at"), _text("op"), _json("touched"),
        sa.PrimaryKeyConstraint("revision", name="pk_changes"),
    )  # fmt: skip
    op.create_table(
        "receipts",
        _text("id"), _time("at"), _text("text"), sa.PrimaryKeyConstraint("id", name="pk_receipts"),
    )  # fmt: skip


def _once() -> None:
    op.create_table(
        "used_codes",
        _text("key"), _time("expires_at"), sa.PrimaryKeyConstraint("key", name="pk_used_codes"),
    )  # fmt: skip
    op.create_index("ix_used_codes_expires_at", "used_codes", ["expires_at"])
    op.create_table(
        "attempts",
        _text("account"), sa.Column("count", sa.Integer(), nullable=False), _time("last_at"),
        _time("wait_until", nullable=True), sa.PrimaryKeyConstraint("account", name="pk_attempts"),
    )  # fmt: skip
    op.create_table(
        "handoffs",
        _text("code_hash"), _text("session_id"), _text("app_id"), _text("host"), _text("state_hash"),
        _text("return_to"), _time("expires_at"), sa.PrimaryKeyConstraint("code_hash", name="pk_handoffs"),
    )  # fmt: skip
    op.create_index("ix_handoffs_expires_at", "handoffs", ["expires_at"])
    op.create_table(
        "pages",
        _text("name"), _text("body"), sa.PrimaryKeyConstraint("name", name="pk_pages"),
    )  # fmt: skip
    op.create_table(
        "marks",
        _text("name"), _json("value"), sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )  # fmt: skip
