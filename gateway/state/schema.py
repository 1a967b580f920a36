"""The tables of the store. Record tables carry the `revision` of their last change; names equal the records' fields.

`migrations/` builds the same (a test compares the two). Only types that SQLite and PostgreSQL share.
"""

from __future__ import annotations

import sqlalchemy as sa

from gateway.state import records

HEAD = "0006"  # the newest of `migrations/versions` (a test compares)

alembic_version = sa.table("alembic_version", sa.column("version_num", sa.Text()))  # Alembic's own table

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, index: bool = False, unique: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, index=index, unique=unique)


def _time(name: str, *, optional: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=optional)


def _flag(name: str, *, optional: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(create_constraint=False), nullable=optional)


def _list(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _id(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.Text(), primary_key=True)


def _revision() -> sa.Column[int]:
    return sa.Column("revision", sa.BigInteger(), nullable=False)


users = sa.Table(
    "users", METADATA,
    _id(), _text("login", unique=True), _text("name"), _text("email"), _text("department"), _list("groups"),
    _text("kind"), _list("roles"), _flag("disabled"), _time("contract_end", optional=True), _text("language"),
    _time("created_at"), _revision(),
)  # fmt: skip

factors = sa.Table(
    "factors", METADATA,
    _id(), _text("user_id", index=True), _text("kind"), _text("label"),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),  # `data`, encrypted
    _time("created_at"), _time("last_used_at", optional=True), _revision(),
)  # fmt: skip

sessions = sa.Table(
    "sessions", METADATA,
    _id(), _text("user_id", index=True), _text("token_hash", unique=True), _list("amr"), _text("acr"),
    _text("mfa_method"), _time("mfa_at", optional=True), _time("created_at"), _time("expires_at"), _time("idle_limit"),
    _time("last_used_at"), sa.Column("device_id", sa.Text(), nullable=True, index=True), _text("source_ip"),
    _text("user_agent"), _flag("operator"), sa.Column("ended_at", sa.Double(), nullable=True, index=True),
    _text("end_reason"), _text("end_message"), _revision(),
)  # fmt: skip

app_sessions = sa.Table(
    "app_sessions", METADATA,
    _id(), _text("session_id", index=True), _text("app_id", index=True), _text("host"),
    _text("token_hash", unique=True), _time("created_at"), _revision(),
)  # fmt: skip

devices = sa.Table(
    "devices", METADATA,
    _id(), _text("uuid", unique=True), _text("name"), _text("source"), _text("owner"), _text("os"),
    _text("os_version"), _flag("managed", optional=True), _flag("compliant", optional=True),
    _flag("in_grace", optional=True), _flag("encrypted", optional=True), _flag("jailbroken", optional=True),
    _list("failing"), _time("patched_at", optional=True), _time("seen_at", optional=True),
    _time("read_at", optional=True), _list("revoked_serials"), _revision(),
)  # fmt: skip

apps = sa.Table(
    "apps", METADATA,
    _id(), _text("title"), _text("owner"), _text("contact"), _list("hosts"), _text("upstream"), _text("upstream_ca"),
    _text("sensitivity"), _text("business"), _text("profile"), _list("presets"), _text("assertion_header"),
    _list("methods"), _text("host_header"), _text("durability"), _text("activity"), _list("preflight_origins"),
    _text("health_path"), _list("masked_paths"), _text("state"), _text("created_by"), _text("approved_by"),
    _list("masked_queries"), _text("path_parameter"), _text("path_charset"), _list("body_limits"),
    _list("upstreams"), _text("affinity"), _time("upstream_first_byte"), _time("upstream_between"), _revision(),
)  # fmt: skip

locks = sa.Table(
    "locks", METADATA,
    _id(), _text("target"), _text("target_id"), _text("message"), _text("reason"), _text("created_by"),
    _time("created_at"), _time("expires_at", optional=True), _revision(),
)  # fmt: skip

revocation_lists = sa.Table(
    "revocation_lists", METADATA,
    _id(), _text("authority"), _text("number"), _time("this_update"), _time("next_update"),
    sa.Column("entries", sa.BigInteger(), nullable=False), _text("digest"), _time("read_at"), _revision(),
)  # fmt: skip

revoked_serials = sa.Table(
    "revoked_serials", METADATA, _id(), _text("authority", index=True), _text("serials"), _revision(),
)  # fmt: skip

policies = sa.Table(
    "policies", METADATA,
    _id("hash"), _text("title"), _text("source"), _text("created_by"), _time("created_at"), _text("state"),
    _text("approved_by"), _revision(),
)  # fmt: skip

approvals = sa.Table(
    "approvals", METADATA,
    _id(), _text("kind"), _text("subject"), _text("detail"), _text("requested_by"), _time("requested_at"),
    _time("expires_at"), _text("decided_by"), _time("decided_at", optional=True), _flag("granted"), _revision(),
)  # fmt: skip

changes = sa.Table(  # one row a revision, never changed: which act made it
    "changes", METADATA,
    sa.Column("revision", sa.BigInteger(), primary_key=True, autoincrement=False), _time("at"), _text("op"),
    _list("touched"),  # "table:key"
)  # fmt: skip

used_codes = sa.Table(  # TOTP steps and other things that are worth something once
    "used_codes", METADATA, _id("key"), sa.Column("expires_at", sa.Double(), nullable=False, index=True),
)  # fmt: skip

attempts = sa.Table(
    "attempts", METADATA,
    _id("account"), sa.Column("count", sa.Integer(), nullable=False), _time("last_at"),
    _time("wait_until", optional=True),
)  # fmt: skip

handoffs = sa.Table(
    "handoffs", METADATA,
    _id("code_hash"), _text("session_id"), _text("app_id"), _text("host"), _text("state_hash"), _text("return_to"),
    sa.Column("expires_at", sa.Double(), nullable=False, index=True),
)  # fmt: skip

pages = sa.Table("pages", METADATA, _id("name"), _text("body"))

receipts = sa.Table("receipts", METADATA, _id(), _time("at"), _text("text"))

marks = sa.Table("marks", METADATA, _id("name"), sa.Column("value", sa.JSON(), nullable=False))

RECORD_TABLES: dict[type[records.Row], sa.Table] = {
    records.User: users,
    records.Factor: factors,
    records.Session: sessions,
    records.AppSession: app_sessions,
    records.Device: devices,
    records.App: apps,
    records.Lock: locks,
    records.RevocationList: revocation_lists,
    records.RevokedSerials: revoked_serials,
    records.PolicyVersion: policies,
    records.Approval: approvals,
}
