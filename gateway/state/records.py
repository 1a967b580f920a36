"""The values that the store keeps and the feed carries.

Every record is frozen: a change is a new value under a new store revision.
Times are seconds since the epoch (UTC, float) unless a name says otherwise;
`None` for a time means "never" or "not known", never "now".

A record crosses a process border as the mapping of its fields (`to_row`, `from_row`).
`Factor` holds secrets and never leaves the store towards a worker.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class FactorKind(StrEnum):
    """What a person signs in with."""

    PASSWORD = "password"  # noqa: S105 (the name of a kind)
    TOTP = "totp"
    PASSKEY = "passkey"
    SETUP_CODE = "setup_code"


class LockTarget(StrEnum):
    """What a standing refusal is about."""

    USER = "user"
    DEVICE = "device"
    SESSION = "session"
    GROUP = "group"
    APP = "app"


class Durability(StrEnum):
    """When an app's decision record counts as kept (promise P2)."""

    WRITTEN = "written"
    SYNCED = "synced"


class AppState(StrEnum):
    """Whether an app is served: an app is pending until another person approves it."""

    PENDING = "pending"
    ACTIVE = "active"


class PolicyState(StrEnum):
    """Where a policy version stands."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    RETIRED = "retired"


class Row:
    """Conversion to and from the mapping that crosses process borders."""

    __slots__ = ()

    def to_row(self) -> dict[str, Any]:
        """Return the fields as a mapping of JSON values (tuples as lists)."""
        row: dict[str, Any] = {}
        for each in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, each.name)
            if isinstance(value, bytes):
                value = value.hex()
            elif isinstance(value, Row):
                value = value.to_row()
            elif isinstance(value, tuple):
                value = [item.to_row() if isinstance(item, Row) else item for item in value]
            row[each.name] = value
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Build the record from `to_row`'s mapping; an unknown or missing field raises TypeError."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})


@dataclass(frozen=True, slots=True)
class User(Row):
    """One person (or account) known to the gateway."""

    id: str
    login: str  # 職員ID: ASCII, compared after NFKC and case folding
    name: str  # display name, Japanese
    email: str
    department: str
    groups: tuple[str, ...]
    kind: str  # staff | fixed_term | contractor
    roles: tuple[str, ...]  # operator roles: ciso | audit | operator
    disabled: bool
    contract_end: float | None
    language: str  # ja | en | "" (by the browser)
    created_at: float


@dataclass(frozen=True, slots=True)
class Factor(Row):
    """One means of authentication of one person. `data` holds secrets: never log it, never feed it."""

    id: str
    user_id: str
    kind: str  # FactorKind
    label: str
    data: dict[str, Any] = field(repr=False)
    created_at: float
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class Session(Row):
    """One signed-in person on one browser. Its token is stored as SHA-256 only."""

    id: str
    user_id: str
    token_hash: str  # hex SHA-256 of the portal cookie's token
    amr: tuple[str, ...]  # RFC 8176 names: pwd, otp, hwk, swk, user, mfa
    acr: str  # urn:sekisho:aal1 | urn:sekisho:aal2
    mfa_method: str  # totp | webauthn | "" while no second factor was shown
    mfa_at: float | None
    created_at: float
    expires_at: float  # absolute limit
    idle_limit: float  # seconds
    last_used_at: float
    device_id: str | None  # device of the client certificate shown at sign-in
    source_ip: str
    user_agent: str
    operator: bool  # True: an operator token of the CLI, worth nothing on app hosts
    ended_at: float | None
    end_reason: str  # "" while alive, else a reason code
    end_message: str = ""  # words of the person who ended it, for the person whose session it was


@dataclass(frozen=True, slots=True)
class AppSession(Row):
    """The child of a session on one app host; its token is worthless anywhere else."""

    id: str
    session_id: str
    app_id: str
    host: str
    token_hash: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Device(Row):
    """One device as its MDM tells of it. Facts are three-valued: True, False, None = not known."""

    id: str
    uuid: str  # common name of its client certificate
    name: str
    source: str  # which MDM
    owner: str  # login of its user, "" = shared or unknown
    os: str
    os_version: str
    managed: bool | None
    compliant: bool | None
    in_grace: bool | None
    encrypted: bool | None
    jailbroken: bool | None
    failing: tuple[str, ...]  # names of failed requirements, for the person
    patched_at: float | None  # date of the last security patch
    seen_at: float | None  # the MDM's last contact with the device
    read_at: float | None  # our last good read of the MDM
    revoked_serials: tuple[str, ...]  # hex numbers of revoked certificates: `AUTHORITY:SERIAL`, or of any issuer


@dataclass(frozen=True, slots=True)
class App(Row):
    """One protected upstream with its hosts."""

    id: str
    title: str
    owner: str  # login of the person answerable
    contact: str
    hosts: tuple[str, ...]
    upstream: str  # http://host:port or https://host:port or unix:/path
    upstream_ca: str  # path of a CA bundle for https, "" = system
    sensitivity: str  # 1 | 2 | 3C | 3B | 3A
    business: str  # 業務
    profile: str  # staff | remote | mynumber
    presets: tuple[str, ...]  # jwt | remote-user
    assertion_header: str  # default X-Sekisho-Jwt-Assertion
    methods: tuple[str, ...]
    host_header: str  # preserve | upstream
    durability: str  # Durability
    activity: str  # navigation | any
    preflight_origins: tuple[str, ...]
    health_path: str
    masked_paths: tuple[str, ...]  # path templates whose `*` segments are kept as digests only
    state: str  # AppState
    created_by: str
    approved_by: str
    masked_queries: tuple[str, ...] = ()  # names in queries whose values are kept as digests one by one
    path_parameter: str = ""  # jsessionid | "": a named exception of old apps (gate.old_paths)
    path_charset: str = ""  # shift_jis | "" = UTF-8: likewise
    body_limits: tuple[str, ...] = ()  # `PATH BYTES` (gate.body_limit)
    upstreams: tuple[str, ...] = ()  # where the app lives on several servers: all of them, and `upstream` is ""
    affinity: str = "session"  # session | none: whether an app session stays with one of several servers
    upstream_first_byte: float = 0.0  # seconds, 0 = the gateway's setting
    upstream_between: float = 0.0  # likewise

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every server of the app; one at least."""
        return self.upstreams or (self.upstream,)


@dataclass(frozen=True, slots=True)
class Lock(Row):
    """A standing refusal, with expiry and a message for the person."""

    id: str
    target: str  # LockTarget
    target_id: str
    message: str
    reason: str
    created_by: str
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class RevocationList(Row):
    """The certificate revocation list of one authority that is in force; what is on it are `RevokedSerials`."""

    id: str  # of the authority: hex SHA-256 of its public key (SubjectPublicKeyInfo)
    authority: str  # its name, for people (RFC 4514)
    number: str  # CRL number in decimal digits, "" = the list has none
    this_update: float
    next_update: float
    entries: int
    digest: str  # hex SHA-256 of the list
    read_at: float


@dataclass(frozen=True, slots=True)
class RevokedSerials(Row):
    """A part of what one authority has revoked (`gateway.state.serials`)."""

    id: str  # AUTHORITY:BUCKET
    authority: str
    serials: str = field(repr=False)  # hex, 40 digits each, in order


@dataclass(frozen=True, slots=True)
class PolicyVersion(Row):
    """One immutable policy, named by the SHA-256 of its source."""

    hash: str
    title: str
    source: str
    created_by: str
    created_at: float
    state: str  # PolicyState
    approved_by: str


@dataclass(frozen=True, slots=True)
class Approval(Row):
    """A request that another person has to grant."""

    id: str
    kind: str  # app | policy
    subject: str
    detail: str
    requested_by: str
    requested_at: float
    expires_at: float
    decided_by: str
    decided_at: float | None
    granted: bool
