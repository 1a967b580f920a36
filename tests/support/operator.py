"""A signed-in operator of a running city, and the admin API as they use it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import replace
from typing import Any

from cli.client import AdminClient
from tests.support.running_city import RunningCity
from tests.support.steward_process import session, user


async def operator(city: RunningCity, *roles: str, number: int = 90) -> AdminClient:
    """Sign a person with these roles in; return the admin API with their token."""
    person = replace(user(number), roles=roles)
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    await city.put("user.put", user=person)
    started = session(f"op{number}", person.id, token_hash=digest, operator=True)
    await city.steward.call("session.start", session=started.to_row(), replaces=None)
    return AdminClient(city.root / "run" / "admin.sock", token)


async def ask(client: AdminClient, path: str, **parameters: str | int | None) -> dict[str, Any]:
    """GET without holding up the loop."""
    return await asyncio.to_thread(lambda: client.get(path, **parameters))


async def tell(client: AdminClient, path: str, **body: Any) -> dict[str, Any]:
    """POST without holding up the loop."""
    return await asyncio.to_thread(client.post, path, body)
