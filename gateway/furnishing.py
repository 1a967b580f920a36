"""Furnish an installation that does not run yet: people with factors in hand, and apps that two people agreed on.

For trials (`sekisho demo`, tests) only: in a real city nobody but the person knows the factors. The records are made by
the same code as the running gateway's, journalled by the writer `init` before they are stored.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from audit.event import Action, event
from gateway.apps.registry import Surroundings, parse_apps
from gateway.first_state import record
from gateway.gate.assertion import key_set, load_key
from gateway.identity.factors import new_factor
from gateway.identity.passwords import PasswordHasher
from gateway.keyfiles import SEALING
from gateway.settings import Settings
from gateway.state import store
from gateway.state.records import App, AppState, Factor, FactorKind, Row, User
from gateway.state.sealing import Sealing


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One person to be put in, with a password and the secret of an authenticator app (base32)."""

    login: str
    name: str
    email: str
    department: str
    groups: tuple[str, ...]
    kind: str  # staff | fixed_term | contractor
    roles: tuple[str, ...]
    contract_end: float | None
    password: str = field(repr=False)
    totp_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Registrations:
    """The text of an `app.yaml`, who proposes it and who else approves it."""

    text: str
    proposed_by: str
    approved_by: str


def furnish(settings: Settings, people: Sequence[Newcomer], apps: Registrations, now: float) -> None:
    """Put people and apps in. `now` is in seconds since the epoch.

    Raises ValueError when one person would approve alone, SourceFaults for a registration that does not hold,
    JournalUnhealthy when the records cannot be kept.
    """
    if apps.proposed_by == apps.approved_by:
        raise ValueError("apps: proposed and approved by one person; expected two")
    made = asyncio.run(_people(settings, people, now))
    around = Surroundings(
        portal_host=settings.portal.host, rp_id=settings.portal.rp_id, owners=frozenset(user.login for user, _ in made)
    )
    pending = parse_apps(apps.text, "app.yaml", around, apps.proposed_by)
    active = [replace(app, state=AppState.ACTIVE.value, approved_by=apps.approved_by) for app in pending]
    events = [each for user, factors in made for each in _person_records(user, factors, now)]
    events += [each for app in active for each in _app_records(app, now)]
    asyncio.run(record(settings.paths.journal, events))
    _store(settings, [*(row for user, factors in made for row in (user, *factors)), *active], now)


def assertion_key_set(settings: Settings) -> bytes:
    """Return the JWKS document (RFC 7517) with which an app verifies who asks; raises OSError, ValueError."""
    names = ("assertion-current.pem", "assertion-next.pem")
    keys = [load_key((settings.paths.keys / name).read_bytes()) for name in names]
    return json.dumps(key_set(keys)).encode()


async def _people(settings: Settings, people: Sequence[Newcomer], now: float) -> list[tuple[User, list[Factor]]]:
    hasher = PasswordHasher(settings.sign_in)
    try:
        hashes = [await hasher.hash(person.password) for person in people]
    finally:
        hasher.close()
    return [_person(person, encoded, now) for person, encoded in zip(people, hashes, strict=True)]


def _person(person: Newcomer, password_hash: str, now: float) -> tuple[User, list[Factor]]:
    user = User(
        id=uuid.uuid4().hex,
        login=person.login,
        name=person.name,
        email=person.email,
        department=person.department,
        groups=person.groups,
        kind=person.kind,
        roles=person.roles,
        disabled=False,
        contract_end=person.contract_end,
        language="",
        created_at=now,
    )
    password = new_factor(user.id, FactorKind.PASSWORD, "パスワード", {"hash": password_hash}, now)
    totp = new_factor(user.id, FactorKind.TOTP, "認証アプリ", {"secret": person.totp_secret}, now)
    return user, [password, totp]


def _person_records(user: User, factors: Sequence[Factor], now: float) -> list[dict[str, Any]]:
    who: Mapping[str, Any] = {"user.target.id": user.id, "user.target.name": user.login, "sekisho.by": "init"}
    enrolled = [
        event(Action.FACTOR_ENROLLED, now, {**who, "sekisho.factor.id": each.id, "sekisho.factor.kind": each.kind})
        for each in factors
    ]
    return [event(Action.USER_CREATED, now, {**who, "user.target.roles": list(user.roles)}), *enrolled]


def _app_records(app: App, now: float) -> list[dict[str, Any]]:
    fields = {
        "sekisho.app.id": app.id, "sekisho.app.hosts": list(app.hosts),
        "sekisho.app.upstream": ", ".join(app.addresses),
        "sekisho.app.sensitivity": app.sensitivity,
    }  # fmt: skip
    proposed = fields | {"sekisho.app.state": AppState.PENDING.value, "sekisho.by": app.created_by}
    approved = fields | {"sekisho.app.state": app.state, "sekisho.by": app.approved_by}
    return [event(Action.APP_PROPOSED, now, proposed), event(Action.APP_APPROVED, now, approved)]


def _store(settings: Settings, rows: Sequence[Row], now: float) -> None:
    opened = store.Store(settings.paths.store, Sealing.load(settings.paths.keys / SEALING))
    try:
        with opened.transaction("furnish", now) as transaction:
            for row in rows:
                transaction.put(row)
    finally:
        opened.close()
