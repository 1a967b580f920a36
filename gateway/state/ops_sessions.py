"""Commands about sessions: start, raise, end; handing a session on to an app host."""

from __future__ import annotations

from dataclasses import replace

from audit.event import Action, event, timestamp
from gateway.state import schema
from gateway.state.arguments import Arguments
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Surroundings
from gateway.state.endings import end_sessions
from gateway.state.records import App, AppSession, AppState, Device, Session, User
from gateway.state.transaction import Transaction
from policies.reasons import Reason

_SELECTORS = frozenset({"sessions", "user", "device", "group", "app", "all", "operator"})


def start_session(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`session [replaces]` → `created_at expires_at replaced`: times are the steward's, limits the settings'.

    `replaces` is the session that the same browser had before. Above the concurrent limit the oldest ones end.
    """
    asked, replaces = args.record(Session, "session"), args.optional_text("replaces")
    args.end()
    user = _who_may_sign_in(tx, asked.user_id, around)
    if tx.get(Session, asked.id) is not None:
        raise CommandRefused("bad_arguments", "session.id: used before")
    now, rules = around.now, around.rules
    session = replace(
        asked, created_at=now, last_used_at=now, expires_at=min(asked.expires_at, now + rules.absolute),
        idle_limit=min(asked.idle_limit, rules.idle), ended_at=None, end_reason="", end_message="",
        mfa_at=None if asked.mfa_at is None else min(asked.mfa_at, now),
    )  # fmt: skip
    before = tx.get(Session, replaces) if replaces else None
    gone = end_sessions(tx, [before] if before else [], now, Reason.SESSION_REPLACED, "", by=user.login, why="")
    alive = [s for s in tx.find(Session, user_id=user.id, ended_at=None) if s.operator == session.operator]
    alive.sort(key=lambda each: each.last_used_at)
    surplus = alive[: max(0, len(alive) + 1 - rules.concurrent)]
    limited = end_sessions(tx, surplus, now, Reason.SESSION_REPLACED, "", by="sekisho", why="")
    tx.put(session)
    started = event(Action.SESSION_STARTED, now, _session_fields(session, user) | {
        "sekisho.session.replaces": replaces, "source.ip": session.source_ip or None,
        "user_agent.original": session.user_agent or None,
    })  # fmt: skip
    result = {
        "created_at": now, "expires_at": session.expires_at, "idle_limit": session.idle_limit,
        "replaced": [each.id for each in surplus],
    }  # fmt: skip
    return Outcome(result, [*gone.records, *limited.records, started])


def elevate_session(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id token_hash amr acr mfa_method mfa_at`: a factor was added; the token changes with it."""
    session = _alive(tx, args.text("id"), around)
    raised = replace(
        session, token_hash=args.digest("token_hash"), amr=args.texts("amr"), acr=args.text("acr"),
        mfa_method=args.text("mfa_method"), mfa_at=min(args.number("mfa_at"), around.now), last_used_at=around.now,
    )  # fmt: skip
    args.end()
    user = _who_may_sign_in(tx, session.user_id, around)
    tx.put(raised)
    return Outcome({}, [event(Action.SESSION_ELEVATED, around.now, _session_fields(raised, user))])


def end_session(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`selector reason message by why` → `receipt sessions`.

    `selector` has one key: `sessions` (ids), `user`, `device`, `group`, `app` (every session that has been to the
    app), `all: true` (everybody's but operators' tokens), `operator: true` (operators' tokens).
    """
    selector, reason, message = args.mapping("selector"), args.text("reason"), args.text("message", "")
    by, why = args.text("by"), args.text("why", "")
    args.end()
    if reason not in set(Reason):
        raise CommandRefused("bad_arguments", f"reason: {reason!r} is no reason code")
    targets, sessions = _selected(tx, selector)
    ended = end_sessions(tx, sessions, around.now, reason, message, by=by, why=why)
    ids = tuple(session.id for session in sessions)
    return Outcome({"sessions": list(ids)}, ended.records, Draft("session.end", by, why or reason, targets, ids))


def put_handoff(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`code_hash session_id app_id host state_hash return_to expires_at`: a one-time code for one app host."""
    code_hash, session = args.digest("code_hash"), _alive(tx, args.text("session_id"), around)
    app = _served(tx, args.text("app_id"), args.text("host"))
    values = {
        "code_hash": code_hash, "session_id": session.id, "app_id": app[0].id, "host": app[1],
        "state_hash": args.text("state_hash"), "return_to": args.text("return_to"),
        "expires_at": min(args.number("expires_at"), around.now + around.rules.code_lifetime),
    }  # fmt: skip
    args.end()
    if session.operator:
        raise CommandRefused("not_permitted", "an operator's token is worth nothing on app hosts")
    if tx.row(schema.handoffs, code_hash) is not None:
        raise CommandRefused("code_reused", "this code exists already")
    tx.put_row(schema.handoffs, values)
    return Outcome()


def take_handoff(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`code_hash host state_hash` → `session_id app_id return_to`. Whatever is wrong with it, the code is used up."""
    code_hash, host, state_hash = args.digest("code_hash"), args.text("host"), args.text("state_hash")
    args.end()
    known = tx.row(schema.handoffs, code_hash)
    if known is None:
        raise CommandRefused("code_reused", "no such code, or used before")
    tx.remove_row(schema.handoffs, code_hash)
    session = tx.get(Session, known["session_id"])
    if known["host"] != host or known["state_hash"] != state_hash:
        return Outcome(refusal=CommandRefused("code_wrong", "the code is for another host or another browser"))
    if known["expires_at"] <= around.now or session is None or session.ended_at is not None:
        return Outcome(refusal=CommandRefused("code_expired", "the code or its session is over"))
    return Outcome({name: known[name] for name in ("session_id", "app_id", "return_to")})


def start_app_session(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`app_session`: the child of a live session on one host; an older one of the same session and host goes."""
    asked = args.record(AppSession, "app_session")
    args.end()
    session = _alive(tx, asked.session_id, around)
    if session.operator:
        raise CommandRefused("not_permitted", "an operator's token is worth nothing on app hosts")
    app, host = _served(tx, asked.app_id, asked.host)
    user = _who_may_sign_in(tx, session.user_id, around)
    for old in tx.find(AppSession, session_id=session.id, host=host):
        tx.remove(old)
    tx.put(replace(asked, created_at=around.now))
    fields = _session_fields(session, user) | {"sekisho.app_session.id": asked.id, "sekisho.app.id": app.id}
    return Outcome({}, [event(Action.APP_SESSION_STARTED, around.now, fields | {"url.domain": host})])


def _who_may_sign_in(tx: Transaction, user_id: str, around: Surroundings) -> User:
    user = tx.get(User, user_id)
    if user is None:
        raise CommandRefused("unknown_user", "no such person")
    if user.disabled:
        raise CommandRefused(Reason.USER_DISABLED, "the account is disabled")
    if user.contract_end is not None and user.contract_end <= around.now:
        raise CommandRefused(Reason.CONTRACT_ENDED, "the contract is over")
    return user


def _alive(tx: Transaction, session_id: str, around: Surroundings) -> Session:
    session = tx.get(Session, session_id)
    if session is None:
        raise CommandRefused("unknown_session", "no such session")
    if session.ended_at is not None or session.expires_at <= around.now:
        raise CommandRefused(Reason.SESSION_ENDED, "the session is over")
    return session


def _served(tx: Transaction, app_id: str, host: str) -> tuple[App, str]:
    app = tx.get(App, app_id)
    if app is None or app.state != AppState.ACTIVE or host not in app.hosts:
        raise CommandRefused("unknown_app", "no active app of this id serves this host")
    return app, host


def _selected(tx: Transaction, selector: dict[str, object]) -> tuple[tuple[str, ...], list[Session]]:
    if len(selector) != 1 or not selector.keys() <= _SELECTORS:
        raise CommandRefused("bad_arguments", f"selector: expected one of {', '.join(sorted(_SELECTORS))}")
    ((kind, value),) = selector.items()
    if kind == "sessions":
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise CommandRefused("bad_arguments", "selector.sessions: expected a list of ids")
        return tuple(f"session:{each}" for each in value), tx.find(Session, id=value, ended_at=None)
    if kind in ("all", "operator"):
        if value is not True:
            raise CommandRefused("bad_arguments", f"selector.{kind}: expected true")
        return (kind,), tx.find(Session, ended_at=None, operator=kind == "operator")
    if not isinstance(value, str) or not value:
        raise CommandRefused("bad_arguments", f"selector.{kind}: expected an id")
    return (f"{kind}:{value}",), _of_one(tx, kind, value)


def _of_one(tx: Transaction, kind: str, value: str) -> list[Session]:
    if kind == "user":
        return tx.find(Session, user_id=value, ended_at=None)
    if kind == "device":
        known = tx.get(Device, value)
        return tx.find(Session, device_id=known.id if known else value, ended_at=None)
    if kind == "group":
        members = [user.id for user in tx.find(User) if value in user.groups]
        return tx.find(Session, user_id=members, ended_at=None)
    parents = {child.session_id for child in tx.find(AppSession, app_id=value)}
    return tx.find(Session, id=parents, ended_at=None)


def _session_fields(session: Session, user: User) -> dict[str, object]:
    return {
        "sekisho.session.id": session.id, "user.id": user.id, "user.name": user.login,
        "device.id": session.device_id, "sekisho.session.amr": list(session.amr), "sekisho.session.acr": session.acr,
        "sekisho.session.operator": session.operator, "sekisho.session.expires": timestamp(session.expires_at),
    }  # fmt: skip


COMMANDS = {
    "session.start": Command(start_session, seen=True),
    "session.elevate": Command(elevate_session, seen=True),
    "session.end": Command(end_session, seen=True, urgent=True),
    "handoff.put": Command(put_handoff),
    "handoff.take": Command(take_handoff),
    "app_session.start": Command(start_app_session, seen=True),
}
