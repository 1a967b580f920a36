"""What a new installation holds: the starter policy and the first CISO, who signs in with a one-time set-up code.

Both are recorded by the journal writer `init`, so that the trail begins with who was let in first.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from audit.event import Action, event
from audit.journal import Journal
from gateway.identity.digests import KeyedDigests
from gateway.identity.provisioning import new_setup_code
from gateway.keyfiles import SEALING
from gateway.settings import STORE_FILE
from gateway.settings_parts.bounds import JournalSettings
from gateway.state import migration, store
from gateway.state.records import PolicyState, PolicyVersion, User
from gateway.state.sealing import Sealing
from policies.load import load_policy

STARTER = "starter.yaml"
WRITER = "init"


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The first person; everybody else is added by her or him."""

    login: str = "ciso"
    name: str = "CISO"
    email: str = ""
    department: str = ""


@dataclass(frozen=True, slots=True)
class FirstState:
    """What was put into the store. `setup_code` is shown once and stored as a keyed digest only."""

    setup_code: str = field(repr=False)
    policy_hash: str


def fill(root: Path, account: FirstAccount, now: float) -> FirstState:
    """Create the store below `root` and put the first records in, each journalled before it is stored.

    Raises FileExistsError for an existing store, PolicyFaults for a starter that does not load, JournalUnhealthy when
    the records cannot be kept.
    """
    policy = starter_policy(now)
    user = _first_user(account, now)
    sealing_key = root / "keys" / SEALING
    setup = new_setup_code(KeyedDigests.load(sealing_key), user.id, now)
    asyncio.run(record(root / "journal", _records(user, policy, now)))
    path = root / "state" / STORE_FILE
    migration.create(path)
    opened = store.Store(path, Sealing.load(sealing_key))
    try:
        with opened.transaction("init", now) as transaction:
            for row in (policy, user, setup.factor):
                transaction.put(row)
    finally:
        opened.close()
    return FirstState(setup_code=setup.code, policy_hash=policy.hash)


def starter_policy(now: float) -> PolicyVersion:
    """Return the bundled starter policy as the active version; its own tests have run."""
    source = resources.files("policies").joinpath("bundled", STARTER).read_bytes()
    loaded = load_policy(source, STARTER)
    return PolicyVersion(
        hash=loaded.hash,
        title=loaded.title,
        source=source.decode(),
        created_by=WRITER,
        created_at=now,
        state=PolicyState.ACTIVE,
        approved_by=WRITER,
    )


def _first_user(account: FirstAccount, now: float) -> User:
    return User(
        id=uuid.uuid4().hex,
        login=account.login,
        name=account.name,
        email=account.email,
        department=account.department,
        groups=(),
        kind="staff",
        roles=("ciso",),
        disabled=False,
        contract_end=None,
        language="",
        created_at=now,
    )


def _records(user: User, policy: PolicyVersion, now: float) -> list[dict[str, Any]]:
    person = {"user.target.id": user.id, "user.target.name": user.login, "user.target.roles": list(user.roles)}
    version = {"sekisho.policy.hash": policy.hash, "sekisho.policy.title": policy.title}
    return [
        event(Action.USER_CREATED, now, person | {"sekisho.by": WRITER}),
        event(Action.POLICY_ACTIVATED, now, version | {"sekisho.by": WRITER}),
    ]


async def record(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Keep `records` in the journal of the writer `init`, synced. Raises JournalUnhealthy."""
    sizes = JournalSettings()
    journal = Journal(folder, WRITER, segment_bytes=sizes.segment_bytes, segment_age=sizes.segment_age)
    journal.open(asyncio.get_running_loop())
    try:
        for each in records:
            await journal.record(dict(each), synced=True)
    finally:
        journal.close(timeout=5.0)
