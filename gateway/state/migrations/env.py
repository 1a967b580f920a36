"""Alembic's entry: migrations run on the connection that `gateway.state.store` hands over."""

from __future__ import annotations

from alembic import context

from gateway.state.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
