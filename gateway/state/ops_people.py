"""Commands about people: accounts, factors, failed attempts, codes that are worth something once."""

from __future__ import annotations

from dataclasses import replace

from audit.event import Action, event
from gateway.state import schema
from gateway.state.arguments import Arguments
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Surroundings
from gateway.state.endings import end_sessions
from gateway.state.records import Factor, Session, User
from gateway.state.transaction import Transaction
from policies.reasons import Reason

_FIRST_WAIT = 30.0  # seconds, doubled with each further failure (SP 800-63B-4 §3.2.2)
_LONGEST_WAIT = 3600.0


def put_user(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`user`: a new person or a changed one. Being disabled is not changed here. Recorded by the caller."""
    user = args.record(User, "user")
    args.end()
    same_login = tx.find(User, login=user.login)
    if any(other.id != user.id for other in same_login):
        raise CommandRefused("login_taken", f"login {user.login} belongs to another person")
    known = tx.get(User, user.id)
    if known is not None and known.disabled != user.disabled:
        raise CommandRefused("bad_arguments", "user.disabled: changed by user.disable and user.enable only")
    tx.put(user)
    return Outcome()


def disable_user(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id reason by` → `receipt`: the account is worth nothing from now on, and every session of it ends."""
    user, reason, by = _user(tx, args), args.text("reason"), args.text("by")
    args.end()
    tx.put(replace(user, disabled=True))
    alive = tx.find(Session, user_id=user.id, ended_at=None)
    ended = end_sessions(tx, alive, around.now, Reason.USER_DISABLED, "", by=by, why=reason)
    ended.records.insert(0, _account(Action.USER_DISABLED, around, user, reason, by))
    ids = tuple(session.id for session in alive)
    draft = Draft("user.disable", by, reason, (f"user:{user.id}",), ids)
    return Outcome({"sessions": list(ids)}, ended.records, draft)


def enable_user(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id reason by`: the account may sign in again; old sessions stay ended."""
    user, reason, by = _user(tx, args), args.text("reason"), args.text("by")
    args.end()
    tx.put(replace(user, disabled=False))
    return Outcome({}, [_account(Action.USER_ENABLED, around, user, reason, by)])


def put_factor(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`factor`: a new or changed means of authentication. Recorded by the caller, who knows the circumstances."""
    factor = args.record(Factor, "factor")
    args.end()
    known = tx.get(Factor, factor.id)
    if tx.get(User, factor.user_id) is None or (known is not None and known.user_id != factor.user_id):
        raise CommandRefused("unknown_user", "the factor's owner is not known, or it belongs to somebody else")
    tx.put(factor)
    return Outcome()


def remove_factor(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`id`. Recorded by the caller."""
    factor_id = args.text("id")
    args.end()
    factor = tx.get(Factor, factor_id)
    if factor is None:
        raise CommandRefused("unknown_factor", "no such factor")
    tx.remove(factor)
    return Outcome()


def use_code(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`key expires_at` → `fresh`: true for the first taker only, over all workers and restarts (RFC 6238 §5.2)."""
    key, expires_at = args.text("key"), args.number("expires_at")
    args.end()
    return Outcome({"fresh": tx.use_once(key, expires_at)})


def fail_attempt(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`account` → `count wait_until`: from the settings' n-th failure on the wait doubles, up to an hour."""
    account = args.text("account")
    args.end()
    known = tx.row(schema.attempts, account)
    count = (known["count"] if known else 0) + 1
    over = count - around.rules.wait_after
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(over, 16)) if over >= 0 else 0.0
    wait_until = around.now + wait if wait else None
    tx.put_row(schema.attempts, {"account": account, "count": count, "last_at": around.now, "wait_until": wait_until})
    return Outcome({"count": count, "wait_until": wait_until})


def clear_attempts(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`account`: a sign-in was right in every factor."""
    account = args.text("account")
    args.end()
    tx.remove_row(schema.attempts, account)
    return Outcome()


def get_attempts(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`account` → `count wait_until`."""
    account = args.text("account")
    args.end()
    known = tx.row(schema.attempts, account)
    return Outcome({"count": known["count"] if known else 0, "wait_until": known["wait_until"] if known else None})


def _user(tx: Transaction, args: Arguments) -> User:
    user = tx.get(User, args.text("id"))
    if user is None:
        raise CommandRefused("unknown_user", "no such person")
    return user


def _account(action: Action, around: Surroundings, user: User, reason: str, by: str) -> dict[str, object]:
    fields = {"user.target.id": user.id, "user.target.name": user.login, "sekisho.justification": reason}
    return event(action, around.now, fields | {"sekisho.by": by})


COMMANDS = {
    "user.put": Command(put_user, seen=True),
    "user.disable": Command(disable_user, seen=True, urgent=True),
    "user.enable": Command(enable_user, seen=True),
    "factor.put": Command(put_factor),
    "factor.remove": Command(remove_factor),
    "code.use": Command(use_code, unrecorded=True),
    "attempt.fail": Command(fail_attempt, unrecorded=True),
    "attempt.clear": Command(clear_attempts, unrecorded=True),
    "attempt.get": Command(get_attempts, unrecorded=True),
}
