"""A small city for tests of the gate: one person, one device, two apps, one policy, all of it in a real `View`."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from gateway.gate.judge import Terms, judge
from gateway.gate.limits import OPEN, Limits
from gateway.gate.request import ClientCertificate, Moment, Peer, RequestHead
from gateway.gate.verdict import NOTHING_SHARED, Forward, Verdict
from gateway.state.changes import Change
from gateway.state.records import App, AppSession, Device, Lock, Row, Session, User
from gateway.state.view import View
from policies.compile import compile_policy
from policies.decision import Effect, Obligation
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule

NOW = 1_790_000_000.0  # Monday 2026-09-21, 22:13:20 in Japan
MONO = 5_000.0
PORTAL = "portal.sekisho.localhost"
HOST = "docs.sekisho.localhost"
TOKEN = "A" * 43
PORTAL_TOKEN = "P" * 43
KEY = b"k" * 32
REQUEST_ID = "1M3250V3V9A9YSQG"
DEVICE_UUID = "5f1c7c1e-0000-4000-8000-000000000001"

APP = App(
    id="docs", title="文書管理", owner="sato", contact="内線 1234", hosts=(HOST,), upstream="http://127.0.0.1:1",
    upstream_ca="", sensitivity="2", business="文書", profile="staff", presets=("jwt",),
    assertion_header="X-Sekisho-Jwt-Assertion", methods=("GET", "HEAD", "POST", "OPTIONS"), host_header="preserve",
    durability="written", activity="navigation", preflight_origins=("https://portal.other.example",), health_path="/",
    masked_paths=("/people/*",), state="active", created_by="sato", approved_by="suzuki",
)  # fmt: skip
PAYMENTS = replace(APP, id="pay", hosts=("pay.sekisho.localhost",), title="財務会計", sensitivity="3B")
USER = User(
    id="u1", login="tanaka", name="田中 花子", email="tanaka@city.example", department="総務課",
    groups=("shokuin", "soumu"), kind="staff", roles=(), disabled=False, contract_end=None, language="",
    created_at=NOW - 1e6,
)  # fmt: skip
SESSION = Session(
    id="s1", user_id="u1", token_hash=sha256(PORTAL_TOKEN.encode()).hexdigest(), amr=("pwd", "otp", "mfa"),
    acr="urn:sekisho:aal2", mfa_method="totp", mfa_at=NOW - 600, created_at=NOW - 600, expires_at=NOW + 3600,
    idle_limit=1800, last_used_at=NOW - 5, device_id="d1", source_ip="10.1.2.3", user_agent="", operator=False,
    ended_at=None, end_reason="",
)  # fmt: skip
APP_SESSION = AppSession(
    id="a1", session_id="s1", app_id="docs", host=HOST, token_hash=sha256(TOKEN.encode()).hexdigest(), created_at=NOW,
)  # fmt: skip
DEVICE = Device(
    id="d1", uuid=DEVICE_UUID, name="PC-001", source="graph", owner="tanaka", os="Windows", os_version="10.0.22631",
    managed=True, compliant=True, in_grace=False, encrypted=True, jailbroken=False, failing=(), patched_at=NOW - 864000,
    seen_at=NOW - 3600, read_at=NOW - 60, revoked_serials=("bad1",),
)  # fmt: skip
CERTIFICATE = ClientCertificate(uuid=DEVICE_UUID, serial="0abc", thumbprint="ff" * 32, not_after=NOW + 1e6)
PEER = Peer(
    address="10.1.2.3", port=50000, listener="public", scheme="https", server_name=HOST, certificate=CERTIFICATE
)


def condition(attribute: str, operator: str, *values: bool | float | str) -> Condition:
    """One leaf of a rule."""
    return Condition(attribute, operator, values)


def rule(rule_id: str, effect: Effect = Effect.ALLOW, **parts: Any) -> Rule:
    """One rule, enforced unless said otherwise."""
    given: dict[str, Any] = {
        "description": "", "owner": "", "mode": Mode.ENFORCE, "expires": None, "when": (), "require": (), "unless": (),
        "advice": "", "obligations": (),
    }  # fmt: skip
    return Rule(id=rule_id, effect=effect, **{**given, **parts})


RULES = (
    rule(
        "docs-staff",
        when=(condition("app", "any_of", "docs"), condition("user.groups", "any_of", "shokuin")),
        require=(
            condition("mfa.age", "max", 43200.0),
            condition("device.compliant", "is", True),
            condition("net.zone", "any_of", "office"),
        ),
    ),
    rule(
        "docs-approve",
        Effect.DENY,
        when=(condition("app", "any_of", "docs"), condition("http.path", "under", "/approve")),
        unless=(condition("mfa.age", "max", 300.0),),
    ),
    rule(
        "pay-staff",
        when=(condition("app", "any_of", "pay"), condition("user.groups", "any_of", "shokuin")),
        obligations=(Obligation("session_max", "300"),),
    ),
)


def policy(*rules: Rule) -> PolicyIR:
    """A policy of these rules, with the office's network as its one zone."""
    return PolicyIR(
        hash="ab" * 32, id="city", revision=1, title="市", owner="", zones=(("office", ("10.0.0.0/8",)),), groups=(),
        posture=PostureLimits(), rules=rules,
    )  # fmt: skip


def record_bytes(verdict: Forward) -> bytes:
    """The members of an allowed request's record as the journal joins them, as one JSON object."""
    return b"{%b%b" % (verdict.shared.decided, verdict.own[1:])


def told(verdict: Verdict) -> tuple[object, ...]:
    """Everything that a verdict says: two that say the same need not share the object made for others as well."""
    if isinstance(verdict, Forward):
        return replace(verdict, shared=NOTHING_SHARED), verdict.record, record_bytes(verdict)
    return (verdict,)


class World:
    """A view and what is asked of it; each test changes the one thing it is about."""

    def __init__(self) -> None:
        self.view = View()
        self.view.beat(NOW, MONO, "", False)
        self.terms = Terms(portal_host=PORTAL, stale_refuse=5.0, digest_key=KEY)
        self.put("user", USER.id, USER)
        self.put("device", DEVICE.id, DEVICE)
        self.put("app", APP.id, APP)
        self.put("app", PAYMENTS.id, PAYMENTS)
        self.put("session", SESSION.id, SESSION)
        self.put("app_session", APP_SESSION.token_hash, APP_SESSION)
        self.view.set_policy(compile_policy(policy(*sorted(RULES, key=lambda item: item.id))), Change(1))

    def put(self, table: str, key: str, record: Row | None) -> None:
        """Apply one row as the feed does; None = the row is gone."""
        row = None if record is None else record.to_row()
        self.view.apply([(table, key, row)], Change(self.view.revision + 1))

    def lock(self, target: str, target_id: str, message: str = "", expires_at: float | None = None) -> None:
        """Lock one thing."""
        self.put("lock", "l1", Lock("l1", target, target_id, message, "test", "ciso", NOW, expires_at))

    def judge(self, request: RequestHead, limits: Limits = OPEN, wall: float = NOW, mono: float = MONO) -> Verdict:
        """Judge a request at a moment."""
        return judge(self.view, request, Moment(wall, mono), limits, REQUEST_ID, self.terms)


def head(
    method: str = "GET",
    path: str = "/",
    query: str | None = None,
    host: str = HOST,
    cookie: str | None = f"__Host-sekisho-app={TOKEN}",
    peer: Peer | None = None,
    upgrade: bool = False,
    **headers: str,
) -> RequestHead:
    """A request as the edge's parser would give it; header names with `_` for `-`."""
    request = RequestHead.__new__(RequestHead)
    request.method, request.path, request.path_text = method, path.encode(), path
    request.query = None if query is None else query.encode()
    request.version, request.host, request.port = "1.1", host, None
    listed = [(b"Host", host.encode()), *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())]
    if cookie is not None:
        listed.append((b"Cookie", cookie.encode()))
    request.headers = listed
    request.find = {name.lower(): value for name, value in listed}
    request.content_length, request.chunked, request.upgrade = None, False, upgrade
    request.keep_alive, request.expect_continue = True, False
    request.peer = replace(PEER, server_name=host) if peer is None else peer
    request.line = b"%b %b HTTP/1.1" % (method.encode(), request.sent)
    return request
